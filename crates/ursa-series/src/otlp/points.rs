//! Data points as messages.

use super::native::Exponential;
use super::proto::{bytes, double, fixed, head, number as varint_field, text, varint, zigzag};
use super::streams::Span;
use crate::{Exemplar, Histogram, Labels, OVERFLOW_LABEL, Point, Summary};

/// As OpenTelemetry calls the attribute of what was folded.
const OVERFLOW_ATTRIBUTE: &str = "otel.metric.overflow";

/// `NumberDataPoint`
pub(super) fn number(out: &mut Vec<u8>, point: &Point<'_>, value: f64, span: Span) {
    times(out, span);
    double(out, 4, value);
    point.exemplars.iter().for_each(|one| exemplar(out, 5, one));
    attributes(out, 7, point.labels);
}

/// `HistogramDataPoint`
pub(super) fn classic(out: &mut Vec<u8>, point: &Point<'_>, histogram: &Histogram, span: Span) {
    times(out, span);
    let count = histogram.count();
    fixed(out, 4, whole(count));
    if let Some(sum) = histogram.sum {
        double(out, 5, sum);
    }
    let buckets = &histogram.buckets;
    let finite = buckets.iter().filter(|bucket| bucket.bound < f64::INFINITY);
    // Every bucket by itself, and one for what is over the last bound.
    let eight = |count: usize| count.saturating_mul(8);
    let bounds = finite.clone().count();
    if bounds > 0 {
        head(out, 6, eight(bounds.saturating_add(1)));
        let mut before = 0_u64;
        for upto in finite.clone().map(|bucket| bucket.count).chain([count]) {
            let upto = whole(upto).max(before);
            out.extend_from_slice(&upto.saturating_sub(before).to_le_bytes());
            before = upto;
        }
        head(out, 7, eight(bounds));
        finite.for_each(|bucket| out.extend_from_slice(&bucket.bound.to_le_bytes()));
    }
    point.exemplars.iter().for_each(|one| exemplar(out, 8, one));
    attributes(out, 9, point.labels);
}

/// `ExponentialHistogramDataPoint`
pub(super) fn exponential(
    out: &mut Vec<u8>,
    point: &Point<'_>,
    histogram: &Histogram,
    native: &Exponential,
    span: Span,
) {
    attributes(out, 1, point.labels);
    times(out, span);
    fixed(out, 4, whole(histogram.count()));
    if let Some(sum) = histogram.sum {
        double(out, 5, sum);
    }
    varint_field(out, 6, zigzag(native.scale));
    fixed(out, 7, whole(native.zero_count));
    for (field, (offset, counts)) in [(8, &native.positive), (9, &native.negative)] {
        if counts.is_empty() {
            continue;
        }
        let (mut buckets, mut packed) = (Vec::new(), Vec::new());
        for count in counts {
            varint(&mut packed, whole(*count));
        }
        varint_field(&mut buckets, 1, zigzag(*offset));
        bytes(&mut buckets, 2, &packed);
        bytes(out, field, &buckets);
    }
    point.exemplars.iter().for_each(|one| exemplar(out, 11, one));
    double(out, 14, native.zero_threshold);
}

/// `SummaryDataPoint`
pub(super) fn summary(out: &mut Vec<u8>, point: &Point<'_>, summary: &Summary, span: Span) {
    times(out, span);
    fixed(out, 4, whole(summary.count.unwrap_or_default()));
    double(out, 5, summary.sum.unwrap_or_default());
    for (quantile, value) in &summary.quantiles {
        let mut at = Vec::new();
        double(&mut at, 1, *quantile);
        double(&mut at, 2, *value);
        bytes(out, 6, &at);
    }
    attributes(out, 7, point.labels);
}

/// Start and time have these numbers in every data point.
fn times(out: &mut Vec<u8>, span: Span) {
    if span.start != 0 {
        fixed(out, 2, span.start);
    }
    fixed(out, 3, span.time);
}

fn attributes(out: &mut Vec<u8>, field: u32, labels: &Labels) {
    for (name, value) in labels.iter() {
        if name == OVERFLOW_LABEL {
            let (mut any, mut pair) = (Vec::new(), Vec::new());
            varint_field(&mut any, 2, 1);
            text(&mut pair, 1, OVERFLOW_ATTRIBUTE);
            bytes(&mut pair, 2, &any);
            bytes(out, field, &pair);
        } else {
            attribute(out, field, name, value);
        }
    }
}

/// A `KeyValue` that is a text.
fn attribute(out: &mut Vec<u8>, field: u32, name: &str, value: &str) {
    let any = super::proto::length(1, value.len());
    let pair = super::proto::length(1, name.len()).saturating_add(super::proto::length(2, any));
    head(out, field, pair);
    bytes(out, 1, name.as_bytes());
    head(out, 2, any);
    bytes(out, 1, value.as_bytes());
}

/// `Exemplar`
fn exemplar(out: &mut Vec<u8>, field: u32, exemplar: &Exemplar) {
    let mut message = Vec::new();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times are of our age"
    )]
    if let Some(time) = exemplar.time {
        fixed(&mut message, 2, (time * 1e9) as u64);
    }
    double(&mut message, 3, exemplar.value);
    for (name, value) in exemplar.labels.iter() {
        match (name, unhex(value)) {
            ("span_id", Some(id)) if id.len() == 8 => bytes(&mut message, 4, &id),
            ("trace_id", Some(id)) if id.len() == 16 => bytes(&mut message, 5, &id),
            _ => attribute(&mut message, 7, name, value),
        }
    }
    bytes(out, field, &message);
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// A count, which OTLP has as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are not negative"
)]
fn whole(count: f64) -> u64 {
    count.round() as u64
}
