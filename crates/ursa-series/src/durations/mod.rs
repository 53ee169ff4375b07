//! How long requests took, told apart by what their spans say of them: what Envoy's own histograms cannot
//! be, since Envoy counts by listener and cluster alone.
//!
//! Values come from callers, so each bound holds whatever they send: values of a label, series, bytes of a
//! value. A value's place is free again once none of its series is there.

use std::collections::BTreeMap;

use ursa_model::pipeline::metrics::{Entity, SpanLabel, SpanLabelSource, TrafficDirection};
use ursa_otlp::process::member;

use crate::{Bucket, Exemplar, Family, Histogram, Kind, Labels, RequestSpan, SpanExemplar};

/// The family.
pub const DURATIONS: Family<'static> = Family {
    name: "ursa_request_duration_seconds",
    kind: Kind::Histogram,
    help: "How long traced requests took, by tags of their spans.",
    unit: "",
};
/// What a label's value becomes where it has as many as it may.
pub const OTHER: &str = "other";
/// Series that are counted by their own values; what comes then has `other` for each.
pub const MAX_DURATIONS: usize = 2_000;
/// Seconds for which a series is kept that no span comes to.
pub const KEEP_SECONDS: u64 = 3_600;

/// Series beyond those: one for each service and direction.
const MAX_OTHERS: usize = 512;
/// Bytes of a value.
const MAX_VALUE: usize = 128;
/// Those of Envoy's latencies, in seconds.
const BOUNDS: [f64; 20] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0,
    10.0, 30.0, 60.0, 300.0,
];
const BUCKETS: usize = BOUNDS.len() + 1;

/// Durations of requests.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    labels: Vec<Label>,
    series: BTreeMap<Key, Series>,
}

#[derive(Debug, Clone)]
struct Label {
    spec: SpanLabel,
    /// How many series have each value.
    values: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    direction: TrafficDirection,
    destination: Option<String>,
    /// In the order of the labels; nothing where a request has none.
    values: Vec<Option<String>>,
}

#[derive(Debug, Clone)]
struct Series {
    /// When it began, and when the last span came, in seconds since 1970.
    created: u64,
    seen: u64,
    sum: f64,
    buckets: [u64; BUCKETS],
    latest: [Option<SpanExemplar>; BUCKETS],
}

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Duration {
    /// Its labels.
    pub labels: Labels,
    /// What was counted, in seconds.
    pub histogram: Histogram,
    /// Of each bucket the latest span.
    pub exemplars: Vec<Exemplar>,
    /// Since when it counts, in seconds since 1970.
    pub created: f64,
}

impl Durations {
    /// None yet, told apart by these labels.
    pub fn new(labels: &[SpanLabel]) -> Self {
        let label = |spec: &SpanLabel| Label { spec: spec.clone(), values: BTreeMap::new() };
        Self { labels: labels.iter().map(label).collect(), series: BTreeMap::new() }
    }

    /// Whether they are told apart by these labels.
    pub fn is_by(&self, labels: &[SpanLabel]) -> bool {
        self.labels.iter().map(|label| &label.spec).eq(labels)
    }

    /// Counts a request that went to a cluster which stands for `entity`, `now` in seconds since 1970.
    pub fn record(&mut self, entity: &Entity, span: &RequestSpan<'_>, now: u64) {
        let values = self.labels.iter().map(|label| value(&label.spec.from, span)).collect();
        self.count(entity, values, span.exemplar, now);
    }

    fn count(
        &mut self,
        entity: &Entity,
        mut values: Vec<Option<String>>,
        span: SpanExemplar,
        now: u64,
    ) {
        for (Label { spec, values: known }, value) in self.labels.iter().zip(&mut values) {
            let limit = usize::try_from(spec.limit).unwrap_or(usize::MAX);
            if let Some(value) = value
                && known.len() >= limit
                && !known.contains_key(value)
            {
                OTHER.clone_into(value);
            }
        }
        let (direction, destination) = (entity.direction, entity.destination.clone());
        let mut key = Key { direction, destination, values };
        if !self.series.contains_key(&key) {
            if self.series.len() >= MAX_DURATIONS {
                key.values.fill(Some(OTHER.to_owned()));
                let is_full = self.series.len() >= MAX_DURATIONS.saturating_add(MAX_OTHERS);
                if is_full && !self.series.contains_key(&key) {
                    return;
                }
            }
            if !self.series.contains_key(&key) {
                for (label, value) in self.labels.iter_mut().zip(&key.values) {
                    if let Some(value) = value.as_ref().filter(|value| *value != OTHER) {
                        let series = label.values.entry(value.clone()).or_default();
                        *series = series.saturating_add(1);
                    }
                }
            }
        }
        self.series.entry(key).or_insert_with(|| Series::new(now)).add(span, now);
    }

    /// Forgets what no span came to for [`KEEP_SECONDS`], and frees the values that none has any more.
    pub fn expire(&mut self, now: u64) {
        let labels = &mut self.labels;
        self.series.retain(|key, series| {
            let is_kept = now.saturating_sub(series.seen) < KEEP_SECONDS;
            if !is_kept {
                for (label, value) in labels.iter_mut().zip(&key.values) {
                    if let Some(value) = value
                        && let Some(series) = label.values.get_mut(value)
                    {
                        *series = series.saturating_sub(1);
                    }
                }
            }
            is_kept
        });
        for label in labels {
            label.values.retain(|_, series| *series > 0);
        }
    }

    /// The series.
    pub fn iter(&self) -> impl Iterator<Item = Duration> {
        self.series.iter().map(|(key, series)| {
            let mut labels = Labels::new();
            labels.push("direction", key.direction.label());
            labels.push("destination", key.destination.as_deref().unwrap_or_default());
            for (label, value) in self.labels.iter().zip(&key.values) {
                labels.push(&label.spec.name, value.as_deref().unwrap_or_default());
            }
            series.told(labels)
        })
    }
}

impl Series {
    fn new(now: u64) -> Self {
        Self { created: now, seen: now, sum: 0.0, buckets: [0; BUCKETS], latest: [None; BUCKETS] }
    }

    fn add(&mut self, span: SpanExemplar, now: u64) {
        let seconds = span.milliseconds / 1e3;
        self.seen = now;
        self.sum += seconds;
        let at = BOUNDS.partition_point(|bound| *bound < seconds);
        if let (Some(count), Some(latest)) = (self.buckets.get_mut(at), self.latest.get_mut(at)) {
            *count = count.saturating_add(1);
            *latest = Some(span);
        }
    }

    fn told(&self, labels: Labels) -> Duration {
        let bounds = || BOUNDS.into_iter().chain([f64::INFINITY]);
        let mut sum = 0_u64;
        let buckets: Vec<_> = bounds()
            .zip(self.buckets)
            .map(|(bound, count)| {
                sum = sum.saturating_add(count);
                Bucket { bound, count: sum as f64 }
            })
            .collect();
        let of_bucket = |(bound, span): (f64, Option<SpanExemplar>)| {
            span.map(|span| span.of_bucket(bound, span.milliseconds / 1e3))
        };
        Duration {
            labels,
            exemplars: bounds().zip(self.latest).filter_map(of_bucket).collect(),
            histogram: Histogram {
                buckets,
                sum: Some(self.sum),
                count: Some(sum as f64),
                native: None,
            },
            created: self.created as f64,
        }
    }
}

/// What a span says; nothing if that is empty.
fn value(from: &SpanLabelSource, span: &RequestSpan<'_>) -> Option<String> {
    let value = match from {
        SpanLabelSource::Literal(text) => clean(text.as_bytes()),
        SpanLabelSource::Attribute(name) => clean(span.attribute(name)?),
        SpanLabelSource::Baggage { from, member: key, default } => {
            let said = span.attribute(from).and_then(|header| member(header, key.as_bytes()));
            clean(said.as_deref().or(default.as_ref().map(String::as_bytes))?)
        }
    };
    Some(value).filter(|value| !value.is_empty())
}

/// Text of one line, no longer than a value may be.
fn clean(bytes: &[u8]) -> String {
    let mut text = String::new();
    for char in String::from_utf8_lossy(bytes).chars() {
        let char = if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
        if text.len().saturating_add(char.len_utf8()) > MAX_VALUE {
            break;
        }
        text.push(char);
    }
    text
}

#[cfg(test)]
mod tests;
