use std::collections::BTreeSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::spans;

fn label(name: &str, limit: u32, from: SpanLabelSource) -> SpanLabel {
    SpanLabel { name: name.to_owned(), limit, from }
}

fn tenant(limit: u32) -> SpanLabel {
    let from = SpanLabelSource::Baggage {
        from: "ursa.baggage".to_owned(),
        member: "tenant.id".to_owned(),
        default: None,
    };
    label("tenant", limit, from)
}

fn span(milliseconds: f64) -> SpanExemplar {
    SpanExemplar { trace_id: [1; 16], span_id: [2; 8], milliseconds, time: 1.0 }
}

fn outbound(destination: &str) -> Entity {
    let destination = Some(destination.to_owned());
    Entity { direction: TrafficDirection::Outbound, destination }
}

fn values(durations: &Durations, label: &str) -> BTreeSet<String> {
    durations.iter().filter_map(|one| one.labels.get(label).map(str::to_owned)).collect()
}

/// What is counted of a span with these attributes.
fn of(labels: &[SpanLabel], attributes: &[(&str, &str)]) -> Durations {
    let attribute = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue((*text).to_owned())) }),
        ..KeyValue::default()
    };
    let always = [("upstream_cluster.name", "app"), ("http.method", "GET")];
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_200_000_000,
        attributes: always.iter().chain(attributes).map(attribute).collect(),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let mut durations = Durations::new(labels);
    spans(&ExportTraceServiceRequest { resource_spans }.encode_to_vec(), 1, |span| {
        assert!(span.is_whole);
        durations.record(&outbound("b"), span, 7);
    });
    durations
}

#[test]
fn a_request_is_counted_by_what_its_span_says() {
    let labels = [
        tenant(1),
        label("client", 1, SpanLabelSource::Attribute("x.client".to_owned())),
        label("team", 1, SpanLabelSource::Literal("core".to_owned())),
    ];
    let durations = of(&labels, &[("ursa.baggage", "a=b,tenant.id=s%C3%BC%C3%9F;ttl=1")]);
    let all: Vec<_> = durations.iter().collect();
    let [Duration { labels, histogram, exemplars, created }] = all.as_slice() else {
        panic!("{all:?}")
    };
    let expected =
        [("direction", "outbound"), ("destination", "b"), ("tenant", "süß"), ("team", "core")];
    assert_eq!(labels, &Labels::from_iter(expected), "and none of what it does not say");
    // 200 ms are within the bound of 200 ms.
    let counted: Vec<_> = histogram.buckets.iter().filter(|bucket| bucket.count > 0.0).collect();
    assert_eq!(counted.first().map(|bucket| bucket.bound), Some(0.2));
    assert_eq!((histogram.sum, histogram.count, *created), (Some(0.2), Some(1.0), 7.0));
    let exemplars: Vec<_> = exemplars.iter().map(|one| (one.bound, one.value)).collect();
    assert_eq!(exemplars, [(Some(0.2), 0.2)]);
}

#[test]
fn values_are_one_short_line_of_text() {
    let (long, cut) = ("ü".repeat(100), "ü".repeat(MAX_VALUE / 2));
    let labels = [label("x", 1, SpanLabelSource::Attribute("x".to_owned()))];
    for (said, expected) in [("a\nb\0\u{9b}c", "a\u{fffd}b\u{fffd}\u{fffd}c"), (&*long, &cut)] {
        assert_eq!(
            values(&of(&labels, &[("x", said)]), "x"),
            BTreeSet::from([expected.to_owned()])
        );
    }
    assert_eq!(values(&of(&labels, &[("x", "")]), "x"), BTreeSet::new());
    assert_eq!(clean(b"\xff\xfea"), "\u{fffd}\u{fffd}a");
    assert_eq!(clean(format!("a{long}").as_bytes()).len(), MAX_VALUE - 1, "no half character");
}

#[test]
fn of_ten_thousand_values_no_more_than_the_limit_and_other_are_told() {
    let mut durations = Durations::new(&[tenant(20)]);
    for count in 0..10_000 {
        durations.count(&outbound("b"), vec![Some(format!("t{count}"))], span(3.0), 0);
    }
    let told = values(&durations, "tenant");
    assert_eq!(told.len(), 21);
    assert!(told.contains(OTHER) && told.contains("t0") && told.contains("t19"), "{told:?}");
    let counted: f64 = durations.iter().map(|one| one.histogram.count()).sum();
    assert_eq!(counted.to_bits(), 10_000_f64.to_bits(), "nothing is lost");

    // A value that still comes keeps its place, the others are free when their series are.
    durations.count(&outbound("b"), vec![Some("t7".to_owned())], span(3.0), 10);
    durations.expire(KEEP_SECONDS - 1);
    assert_eq!(durations.series.len(), 21);
    durations.expire(KEEP_SECONDS);
    durations.count(&outbound("b"), vec![Some("new".to_owned())], span(3.0), KEEP_SECONDS);
    assert_eq!(values(&durations, "tenant"), BTreeSet::from(["new", "t7"].map(str::to_owned)));
}

#[test]
fn many_services_and_values_have_a_bound_together() {
    let mut durations =
        Durations::new(&[tenant(200), label("b", 200, SpanLabelSource::Literal(String::new()))]);
    for count in 0..100_000_u32 {
        let values = [count % 150, count / 150].map(|value| Some(value.to_string()));
        durations.count(&outbound(&(count % 700).to_string()), values.to_vec(), span(3.0), 0);
    }
    assert_eq!(durations.series.len(), MAX_DURATIONS + MAX_OTHERS);
    durations.expire(KEEP_SECONDS);
    assert!(durations.series.is_empty() && durations.labels.iter().all(|it| it.values.is_empty()));
}

proptest! {
    #[test]
    fn the_limit_holds_whatever_comes_and_goes(
        limits in prop::collection::vec(1_u32..6, 1..4),
        steps in prop::collection::vec((prop::collection::vec(prop::option::of(0_u8..12), 3), 0_u64..900), 1..200),
    ) {
        let labels: Vec<_> = limits.iter().enumerate().map(|(index, limit)| label(&format!("l{index}"), *limit, SpanLabelSource::Literal(String::new()))).collect();
        let mut durations = Durations::new(&labels);
        let mut now = 0;
        for (said, later) in steps {
            now += later;
            let said = said.into_iter().take(labels.len());
            let said = said.map(|value| value.map(|value| value.to_string())).collect();
            durations.count(&outbound("b"), said, span(1.0), now);
            durations.expire(now);
            for (label, limit) in durations.labels.iter().zip(&limits) {
                let told = values(&durations, &label.spec.name);
                let own: BTreeSet<_> = told.into_iter().filter(|value| value != OTHER).collect();
                prop_assert!(own.len() <= *limit as usize);
                prop_assert_eq!(own, label.values.keys().cloned().collect());
            }
        }
    }
}
