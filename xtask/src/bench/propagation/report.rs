//! What was measured, and what follows.

use std::fmt;

use super::comparison::{COMPARISONS, Comparison};
use crate::bench::statistics::Estimate;
use crate::project;

/// Proxies on the way of a request.
const PROXIES: f64 = 2.0;
/// How much more a request may cost on its whole way, in percent.
const WHOLE: f64 = 2.0;

/// What one side of a comparison took in one round: seconds of CPU for a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// Of both Envoys together.
    pub(super) envoys: f64,
    /// Of the application.
    pub(super) application: f64,
}

/// Two rounds, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// What was compared.
    pub(super) comparison: &'static Comparison,
    /// The one side.
    pub(super) without: Round,
    /// The other.
    pub(super) with: Round,
}

impl Pair {
    /// Microseconds more in one Envoy.
    fn more(&self) -> f64 {
        1e6 * (self.with.envoys - self.without.envoys) / PROXIES
    }

    /// Percent more in Envoy.
    fn envoy(&self) -> f64 {
        100.0 * (self.with.envoys / self.without.envoys - 1.0)
    }

    /// Percent more on the whole way.
    fn whole(&self) -> f64 {
        let all = |round: Round| round.envoys + round.application;
        100.0 * (all(self.with) / all(self.without) - 1.0)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:+.2} µs a request and Envoy ({:.1} → {:.1} µs, {:+.1} %), whole way {:+.1} %",
            self.comparison.name,
            self.more(),
            1e6 * self.without.envoys / PROXIES,
            1e6 * self.with.envoys / PROXIES,
            self.envoy(),
            self.whole(),
        )
    }
}

/// Prints medians of the pairs' differences and ratios, each with the interval in which it lies with 95 %.
pub(super) fn tell(pairs: &[Pair], rate: f64) {
    project::tell(&format!(
        "CPU of one Envoy for a request, more than without, and of the whole way (two Envoys and the application), at \
         {rate:.0} requests/s (interval of 95 %; target of the whole way: {WHOLE:+.0} %)"
    ));
    for comparison in &COMPARISONS {
        let pairs: Vec<Pair> =
            pairs.iter().filter(|pair| pair.comparison.name == comparison.name).copied().collect();
        if pairs.is_empty() {
            continue;
        }
        let of = |take: fn(&Pair) -> f64| Estimate::of(&pairs.iter().map(take).collect::<Vec<_>>());
        let target = comparison
            .target
            .map_or_else(String::new, |target| format!("   (target: {target:+.0} µs)"));
        project::tell(&format!(
            "{:<37} {}, {}; whole way {}   {:.1} µs before{target}",
            comparison.name,
            of(Pair::more).shown("µs", 2),
            of(Pair::envoy).shown("%", 2),
            of(Pair::whole).shown("%", 2),
            of(|pair| 1e6 * pair.without.envoys / PROXIES).median,
        ));
    }
}
