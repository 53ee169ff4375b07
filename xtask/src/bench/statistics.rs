//! Medians and percentiles of a series.

/// The value below which `share` of the series lies (nearest rank). NaN without values.
pub(crate) fn percentile(series: &[f64], share: f64) -> f64 {
    let mut sorted = series.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is an index"
    )]
    let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// The middle of the series.
pub(crate) fn median(series: &[f64]) -> f64 {
    percentile(series, 0.5)
}

/// Where the middle lies with 95 %: of so many series drawn from this one, all middles but the outermost (bootstrap).
/// The same series has the same interval.
fn interval(series: &[f64]) -> (f64, f64) {
    const DRAWN: usize = 4_000;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).map_or(0, |number| number % below.max(1))
    };
    let middles: Vec<f64> = (0..DRAWN)
        .map(|_| {
            let drawn: Vec<f64> =
                series.iter().filter_map(|_| series.get(draw(series.len())).copied()).collect();
            median(&drawn)
        })
        .collect();
    (percentile(&middles, 0.025), percentile(&middles, 0.975))
}

/// The middle of a series, and where it lies with 95 %.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    /// The middle.
    pub(crate) median: f64,
    interval: (f64, f64),
}

impl Estimate {
    /// Of a series.
    pub(crate) fn of(series: &[f64]) -> Self {
        Self { median: median(series), interval: interval(series) }
    }

    /// `+1.5 µs (-0.2 … +3.0)`, with as many decimals.
    pub(crate) fn shown(&self, unit: &str, decimals: usize) -> String {
        let (low, high) = self.interval;
        let median = self.median;
        format!("{median:+.decimals$} {unit} ({low:+.decimals$} … {high:+.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_series() {
        let series: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((median(&series) - 50.0).abs() < 1e-9);
        assert!((percentile(&series, 0.99) - 99.0).abs() < 1e-9);
        assert!((percentile(&series, 1.0) - 100.0).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_interval_is_around_the_middle_and_narrower_than_the_series() {
        let series: Vec<f64> = (0..101).map(f64::from).collect();
        let (low, high) = interval(&series);
        assert!((30.0..45.0).contains(&low) && (55.0..70.0).contains(&high), "{low} {high}");
        assert_eq!(interval(&[2.0, 2.0]), (2.0, 2.0));
        assert!(interval(&[]).0.is_nan());
    }
}
