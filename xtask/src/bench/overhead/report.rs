//! What was measured, and what follows.

use std::fmt;

use super::setting::Comparison;
use crate::bench::statistics::Estimate;
use crate::project::tell;

/// What one side of a comparison took in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// Seconds of Envoy's CPU for a request.
    pub(super) envoy: f64,
    /// Seconds of the agent's.
    pub(super) agent: f64,
    /// All but one of a hundred requests took less, in milliseconds.
    pub(super) latency: f64,
    /// Log records for a request.
    pub(super) records: f64,
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
    fn envoy(&self) -> f64 {
        percent(self.with.envoy / self.without.envoy)
    }

    /// Without policies an agent has nothing to do, and there would be none.
    fn both(&self) -> f64 {
        let agent = if self.comparison.is_with_policies() { self.without.agent } else { 0.0 };
        percent((self.with.envoy + self.with.agent) / (self.without.envoy + agent))
    }

    fn latency(&self) -> f64 {
        percent(self.with.latency / self.without.latency)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: Envoy {:+.1} %, with agent {:+.1} %, p99 {:+.1} %; {:.1} and {:.1} + {:.1} µs a request, p99 {:.2} \
             and {:.2} ms, {:.4} records",
            self.comparison.name,
            self.envoy(),
            self.both(),
            self.latency(),
            self.without.envoy * 1e6,
            self.with.envoy * 1e6,
            self.with.agent * 1e6,
            self.without.latency,
            self.with.latency,
            self.with.records,
        )
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// At the rate that was asked for.
    pub(super) pairs: Vec<Pair>,
    /// Requests a second that Envoy can serve without policies, if that was asked for.
    pub(super) most: Option<f64>,
    /// At half of it.
    pub(super) latencies: Vec<Pair>,
}

impl Report {
    /// Prints medians of the pairs' ratios, each with the interval in which it lies with 95 %.
    pub(super) fn table(&self, rate: f64) {
        tell(&format!(
            "CPU a request at {rate:.0} requests/s, more than without (interval of 95 %)"
        ));
        for pairs in by_comparison(&self.pairs) {
            let Some(first) = pairs.first() else { continue };
            let target = first
                .comparison
                .target
                .map_or_else(String::new, |target| format!("   (target: {target:+.0} %)"));
            let microseconds = |take: fn(&Pair) -> f64| 1e6 * of(&pairs, take).median;
            tell(&format!(
                "{:<24} Envoy {}, with agent {}   {:.1} → {:.1} + {:.1} µs{target}",
                first.comparison.name,
                of(&pairs, Pair::envoy).shown("%", 1),
                of(&pairs, Pair::both).shown("%", 1),
                microseconds(|pair| pair.without.envoy),
                microseconds(|pair| pair.with.envoy),
                microseconds(|pair| pair.with.agent),
            ));
        }
        let Some(most) = self.most else { return };
        tell(&format!("p99 at half of saturation, {:.0} requests/s   (target: +5 %)", most / 2.0));
        for pairs in by_comparison(&self.latencies) {
            let Some(first) = pairs.first() else { continue };
            tell(&format!(
                "{:<24} {}   {:.2} → {:.2} ms",
                first.comparison.name,
                of(&pairs, Pair::latency).shown("%", 1),
                of(&pairs, |pair| pair.without.latency).median,
                of(&pairs, |pair| pair.with.latency).median,
            ));
        }
    }
}

fn by_comparison(pairs: &[Pair]) -> Vec<Vec<Pair>> {
    super::COMPARISONS
        .iter()
        .map(|of| pairs.iter().filter(|pair| pair.comparison.name == of.name).copied().collect())
        .collect()
}

fn of(pairs: &[Pair], take: fn(&Pair) -> f64) -> Estimate {
    Estimate::of(&pairs.iter().map(take).collect::<Vec<_>>())
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}
