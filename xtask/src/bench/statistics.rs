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
}
