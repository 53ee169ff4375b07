//! Durations in log-linear buckets: 16 to each power of two, so a quantile is within 3.2 % of the truth.
//!
//! A histogram is sparse: a second of one service has a few dozen different durations, not 500.

use std::time::Duration;

/// Each power of two is cut into this many buckets, as a power of two itself.
const SUB_BITS: u32 = 4;
const SUB: u64 = 1 << SUB_BITS;
/// Durations are cut to this: 2^36 µs, about 19 hours.
const LONGEST_MICROS: u64 = (1 << 36) - 1;
/// One more than the highest bucket.
const BUCKETS: usize = 33 << SUB_BITS;

/// How often each duration was seen. At most [`BUCKETS`] entries of 8 bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    /// Bucket and count, sorted by bucket.
    counts: Vec<(u16, u32)>,
}

impl Histogram {
    pub(super) fn record(&mut self, duration: Duration) {
        let bucket = bucket(duration);
        match self.counts.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(at) => {
                if let Some((_, count)) = self.counts.get_mut(at) {
                    *count = count.saturating_add(1);
                }
            }
            Err(at) => self.counts.insert(at, (bucket, 1)),
        }
    }
}

/// Several histograms added up, to be asked for quantiles.
#[derive(Debug)]
pub(super) struct Sum {
    counts: Vec<u64>,
    total: u64,
}

impl Sum {
    pub(super) fn of<'a>(parts: impl Iterator<Item = &'a Histogram>) -> Self {
        let mut counts = vec![0; BUCKETS];
        let mut total = 0_u64;
        for &(bucket, count) in parts.flat_map(|part| &part.counts) {
            if let Some(slot) = counts.get_mut(usize::from(bucket)) {
                *slot += u64::from(count);
                total += u64::from(count);
            }
        }
        Self { counts, total }
    }

    /// The duration that the share `q` (0 to 1) does not exceed, in milliseconds; none of nothing.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and total"
        )]
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(middle_micros(bucket) / 1000.0)
    }
}

/// Exact below 16 µs, then 16 to an octave.
fn bucket(duration: Duration) -> u16 {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(LONGEST_MICROS);
    let octave = micros.max(1).ilog2();
    let index = if octave < SUB_BITS {
        micros
    } else {
        let shift = octave - SUB_BITS;
        u64::from(shift + 1) * SUB + ((micros >> shift) & (SUB - 1))
    };
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn middle_micros(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket as f64;
    }
    let shift = bucket / SUB - 1;
    let low = (SUB + bucket % SUB) << shift;
    let width = 1_u64 << shift;
    low as f64 + (width - 1) as f64 / 2.0
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank is small")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_within_three_percent(mut micros in prop::collection::vec(0_u64..10_000_000_000, 1..200), q in 0.0..=1.0_f64) {
            let (first, second) = micros.split_at(micros.len() / 2);
            let parts = [first, second].map(|part| {
                let mut histogram = Histogram::default();
                for &micros in part {
                    histogram.record(Duration::from_micros(micros));
                }
                histogram
            });
            let found = Sum::of(parts.iter()).quantile(q).unwrap() * 1000.0;
            micros.sort_unstable();
            let rank = ((q * micros.len() as f64).ceil() as usize).clamp(1, micros.len());
            let exact = micros[rank - 1] as f64;
            prop_assert!((found - exact).abs() <= exact * 0.032 + 0.5, "{found} is not near {exact}");
        }

        #[test]
        fn buckets_are_in_order(a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(bucket(Duration::from_micros(low)) <= bucket(Duration::from_micros(high)));
            prop_assert!(usize::from(bucket(Duration::from_micros(high))) < BUCKETS);
        }
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Sum::of(std::iter::empty()).quantile(0.5), None);
    }
}
