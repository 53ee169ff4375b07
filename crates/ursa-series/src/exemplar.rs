//! Traces to look at for a latency: Envoy writes none with its histograms, but its spans pass through the
//! agent, and each says how long a request took.

use std::collections::BTreeMap;

use ursa_model::pipeline::metrics::{Entity, TrafficDirection};
use ursa_otlp::wire::{Fields, Value as Wire};

use crate::{Exemplar, Histogram, Labels};

/// Services and directions of which some are remembered.
const MAX_ENTITIES: usize = 512;
/// Durations of one of them that are told apart: four to each doubling, so that none of the buckets that Envoy
/// has is narrower. From 1/16 ms.
const SLOTS: u8 = 120;
/// Label, and name of the attribute that says which cluster a request went to.
const CLUSTER: &[u8] = b"upstream_cluster.name";
/// The same before Envoy 1.17 told a cluster's other name apart.
const CLUSTER_BEFORE: &[u8] = b"upstream_cluster";
/// What Envoy says of a request and not of its attempts.
const METHOD: &[u8] = b"http.method";

/// A span as an observation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanExemplar {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Itself.
    pub span_id: [u8; 8],
    /// How long it took.
    pub milliseconds: f64,
    /// When it ended, in seconds since 1970.
    pub time: f64,
}

impl SpanExemplar {
    /// As the exemplar of a bucket, in the histogram's unit.
    pub(crate) fn of_bucket(&self, bound: f64, value: f64) -> Exemplar {
        let labels = [("trace_id", hex(&self.trace_id)), ("span_id", hex(&self.span_id))];
        let (bound, time) = (Some(bound), Some(self.time));
        Exemplar { bound, labels: Labels::from_iter(labels), value, time }
    }
}

/// A span of a request, on the bytes that say it.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpan<'a> {
    /// The cluster that the request went to.
    pub cluster: &'a str,
    /// The span as an observation.
    pub exemplar: SpanExemplar,
    /// Whether it is of the whole request; else of one attempt.
    pub is_whole: bool,
    message: &'a [u8],
}

impl<'a> RequestSpan<'a> {
    /// The text of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        let mut attributes = messages(self.message, 9).filter_map(text_attribute);
        attributes.find(|(key, _)| *key == name.as_bytes()).map(|(_, text)| text)
    }
}

/// The latest span of each service, direction and duration. What is kept has a bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exemplars {
    of: BTreeMap<(TrafficDirection, Option<String>), BTreeMap<u8, SpanExemplar>>,
}

impl Exemplars {
    /// Remembers a span of a request that went to a cluster which stands for `entity`.
    pub fn record(&mut self, entity: &Entity, span: SpanExemplar) {
        let key = (entity.direction, entity.destination.clone());
        if self.of.len() >= MAX_ENTITIES && !self.of.contains_key(&key) {
            return;
        }
        self.of.entry(key).or_default().insert(slot(span.milliseconds), span);
    }

    /// Those of a histogram of milliseconds: of each bucket the latest that falls into it.
    pub(crate) fn attach(&self, entity: &Entity, histogram: &Histogram, to: &mut Vec<Exemplar>) {
        let Some(slots) = self.of.get(&(entity.direction, entity.destination.clone())) else {
            return;
        };
        let mut latest: BTreeMap<usize, SpanExemplar> = BTreeMap::new();
        for span in slots.values() {
            let at = histogram.buckets.partition_point(|bucket| bucket.bound < span.milliseconds);
            let known = latest.entry(at).or_insert(*span);
            if known.time < span.time {
                *known = *span;
            }
        }
        for (at, span) in latest {
            // A span may come before the histogram counts it, or its bucket be another by a hair.
            let before = at.checked_sub(1).and_then(|at| histogram.buckets.get(at));
            let Some(bucket) = histogram.buckets.get(at) else { continue };
            if bucket.count <= before.map_or(0.0, |bucket| bucket.count) {
                continue;
            }
            to.push(span.of_bucket(bucket.bound, span.milliseconds));
        }
    }
}

/// Where a duration lies.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within the slots"
)]
fn slot(milliseconds: f64) -> u8 {
    let at = (milliseconds.max(1.0 / 16.0).log2() + 4.0) * 4.0;
    at.clamp(0.0, f64::from(SLOTS)) as u8
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// Walks the first `most` spans of an `ExportTraceServiceRequest`, and tells of those that say to which
/// cluster a request went. What is malformed is passed over.
pub fn spans(request: &[u8], most: usize, mut each: impl FnMut(&RequestSpan<'_>)) {
    let of_resources = messages(request, 1);
    let of_scopes = of_resources.flat_map(|resource| messages(resource, 2));
    for span in of_scopes.flat_map(|scope| messages(scope, 2)).take(most) {
        let (mut trace_id, mut span_id, mut start, mut end) = ([0; 16], [0; 8], 0, 0);
        let (mut cluster, mut is_whole) = (None, false);
        for field in Fields::new(span).map_while(Result::ok) {
            match (field.number, field.value) {
                (1, Wire::Bytes(id)) => trace_id = id.try_into().unwrap_or_default(),
                (2, Wire::Bytes(id)) => span_id = id.try_into().unwrap_or_default(),
                (7, Wire::Fixed64(nanos)) => start = nanos,
                (8, Wire::Fixed64(nanos)) => end = nanos,
                (9, Wire::Bytes(attribute)) => match text_attribute(attribute) {
                    Some((CLUSTER, value)) => cluster = Some(value),
                    Some((CLUSTER_BEFORE, value)) => cluster = cluster.or(Some(value)),
                    Some((METHOD, _)) => is_whole = true,
                    _ => {}
                },
                _ => {}
            }
        }
        let Some(cluster) = cluster.and_then(|name| str::from_utf8(name).ok()) else { continue };
        if trace_id == [0; 16] || span_id == [0; 8] || end < start {
            continue;
        }
        let milliseconds = end.saturating_sub(start) as f64 / 1e6;
        let exemplar = SpanExemplar { trace_id, span_id, milliseconds, time: end as f64 / 1e9 };
        each(&RequestSpan { cluster, exemplar, is_whole, message: span });
    }
}

fn messages(message: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).map_while(Result::ok).filter_map(move |field| match field.value {
        Wire::Bytes(body) if field.number == wanted => Some(body),
        _ => None,
    })
}

/// Key and text of a `KeyValue` that has one.
fn text_attribute(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let key = messages(message, 1).last()?;
    Some((key, messages(messages(message, 2).last()?, 1).last()?))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;

    use super::*;
    use crate::Bucket;

    #[test]
    fn spans_become_exemplars_of_the_bucket_that_they_fall_into() {
        let request: ExportTraceServiceRequest =
            opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
                resource_spans: vec![of(&[(1, 40), (2, 60), (3, 41), (4, 7_000)])],
            };
        let mut exemplars = Exemplars::default();
        let entity = Entity { direction: TrafficDirection::Inbound, destination: None };
        spans(&request.encode_to_vec(), 100, |span| {
            assert_eq!((span.cluster, span.is_whole), ("app", false));
            exemplars.record(&entity, span.exemplar);
        });
        let bucket = |(bound, count)| Bucket { bound, count };
        let buckets = [(50.0, 2.0), (100.0, 3.0), (1000.0, 3.0), (f64::INFINITY, 3.0)];
        let histogram = Histogram { buckets: buckets.map(bucket).to_vec(), ..Histogram::default() };
        let mut found = Vec::new();
        exemplars.attach(&entity, &histogram, &mut found);
        let found: Vec<_> =
            found.iter().map(|one| (one.bound, one.value, one.labels.get("span_id"))).collect();
        // The one of 7 s is not counted yet; of the first bucket the latest is told.
        assert_eq!(
            found,
            [
                (Some(50.0), 41.0, Some("0303030303030303")),
                (Some(100.0), 60.0, Some("0202020202020202")),
            ]
        );
        for count in 0..10_000_u32 {
            let entity = Entity {
                direction: TrafficDirection::Outbound,
                destination: Some(count.to_string()),
            };
            let span = SpanExemplar {
                trace_id: [1; 16],
                span_id: [1; 8],
                milliseconds: f64::from(count),
                time: 1.0,
            };
            exemplars.record(&entity, span);
        }
        assert_eq!(exemplars.of.len(), MAX_ENTITIES);
    }

    fn of(spans: &[(u8, u64)]) -> opentelemetry_proto::tonic::trace::v1::ResourceSpans {
        use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
        use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
        let cluster = KeyValue {
            key: "upstream_cluster.name".to_owned(),
            value: Some(AnyValue { value: Some(Value::StringValue("app".to_owned())) }),
            ..KeyValue::default()
        };
        let span = |&(id, milliseconds): &(u8, u64)| Span {
            trace_id: vec![id; 16],
            span_id: vec![id; 8],
            start_time_unix_nano: 1_000_000_000,
            end_time_unix_nano: 1_000_000_000 + milliseconds * 1_000_000,
            attributes: vec![cluster.clone()],
            ..Span::default()
        };
        let spans = spans.iter().map(span).collect();
        ResourceSpans {
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    }
}
