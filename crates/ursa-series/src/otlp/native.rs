//! Native histograms: as OTLP's exponential ones, and one less another.

use crate::Native;

/// Buckets of one side that OTLP's dense form may have; a wider range is told with wider buckets.
const MAX_DENSE: usize = 640;
/// Schemas that are powers of 2.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
/// The widest buckets of OTLP that are tried.
const WIDEST: i32 = -10;

/// As OTLP has it: bucket `i` holds what is above `base^i` up to `base^(i+1)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exponential {
    pub(super) scale: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: f64,
    /// Index of the first bucket, and all from there on.
    pub(super) positive: (i32, Vec<f64>),
    pub(super) negative: (i32, Vec<f64>),
}

/// A native histogram in OTLP's form; nothing if its schema is none of exponents.
pub(super) fn exponential(native: &Native) -> Option<Exponential> {
    if !SCHEMAS.contains(&native.schema) {
        return None;
    }
    let mut scale = native.schema;
    loop {
        let wider = native.schema.saturating_sub(scale);
        let sides = (dense(&native.positive, wider), dense(&native.negative, wider));
        if let (Some(positive), Some(negative)) = sides {
            let Native { zero_threshold, zero_count, .. } = *native;
            return Some(Exponential { scale, zero_threshold, zero_count, positive, negative });
        }
        scale = scale.checked_sub(1).filter(|scale| *scale >= WIDEST)?;
    }
}

/// All buckets between the first and the last, each made of 2^`wider`; nothing if these are too many.
fn dense(sparse: &[(i32, f64)], wider: i32) -> Option<(i32, Vec<f64>)> {
    // Prometheus counts buckets by their upper bound, OTLP by their lower.
    let index = |prometheus: i32| prometheus.saturating_sub(1) >> wider;
    let (Some(first), Some(last)) = (sparse.first(), sparse.last()) else {
        return Some((0, Vec::new()));
    };
    let first = index(first.0);
    let length = usize::try_from(index(last.0).checked_sub(first)?).ok()?.checked_add(1)?;
    if length > MAX_DENSE {
        return None;
    }
    let mut counts = vec![0.0; length];
    for (at, count) in sparse {
        let at = usize::try_from(index(*at).saturating_sub(first)).ok()?;
        *counts.get_mut(at)? += count;
    }
    Some((first, counts))
}

/// What came to a native histogram since; nothing if it began anew.
pub(super) fn since(now: &Native, before: &Native) -> Option<Native> {
    // Its source may have made the buckets wider since then.
    let wider = before.schema.checked_sub(now.schema).filter(|wider| (0..=16).contains(wider))?;
    let zero_count = now.zero_count - before.zero_count;
    if zero_count < 0.0 {
        return None;
    }
    Some(Native {
        schema: now.schema,
        zero_threshold: now.zero_threshold,
        zero_count,
        positive: side_since(&now.positive, &before.positive, wider)?,
        negative: side_since(&now.negative, &before.negative, wider)?,
    })
}

fn side_since(now: &[(i32, f64)], before: &[(i32, f64)], wider: i32) -> Option<Vec<(i32, f64)>> {
    let mut since = now.to_vec();
    for (at, count) in before {
        let at = (at.saturating_sub(1) >> wider).saturating_add(1);
        let found = since.binary_search_by_key(&at, |bucket| bucket.0).ok()?;
        since.get_mut(found)?.1 -= count;
    }
    if since.iter().any(|bucket| bucket.1 < 0.0) {
        return None;
    }
    since.retain(|bucket| bucket.1 != 0.0);
    Some(since)
}
