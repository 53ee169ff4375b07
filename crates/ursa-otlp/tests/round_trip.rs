//! What the mapping can keep, comes back: native spans through OTLP, spans of OTLP through each form.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "translate/msgpack.rs"]
mod msgpack;

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use ursa_otlp::{datadog, zipkin};

const LIMIT: usize = 1 << 24;

/// Texts, also such as JSON must escape.
fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\u{0}-\u{1f}ü😀 |{}]{0,8}"
}

/// Numbers that JSON says exactly.
fn quarters() -> impl Strategy<Value = f64> {
    (-1_000_000..1_000_000).prop_map(|number| f64::from(number) / 4.0)
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    // Not the names that say what OTLP has fields for.
    btree_map("x[a-z.\"ü]{0,6}", text(), 0..4)
}

/// Less what says nothing: null, empty lists and maps.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let said = map.into_iter().map(|(key, value)| (key, plain(value)));
            let empty = |value: &Value| match value {
                Value::Null => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            Value::Object(said.filter(|(_, value)| !empty(value)).collect())
        }
        Value::Array(list) => list.into_iter().map(plain).collect(),
        other => other,
    }
}

fn endpoint() -> impl Strategy<Value = Value> {
    let v4 = option::of(any::<[u8; 4]>());
    let v6 = option::of(any::<[u16; 8]>());
    let name = "[a-z]{1,8}";
    (name, v4, v6, 1_u16..).prop_map(|(name, v4, v6, port)| {
        let v4 = v4.map(|octets| std::net::Ipv4Addr::from(octets).to_string());
        let v6 = v6.map(|parts| std::net::Ipv6Addr::from(parts).to_string());
        json!({"serviceName": name, "ipv4": v4, "ipv6": v6, "port": port})
    })
}

prop_compose! {
    fn zipkin_span()(
        trace in 1_u128.., wide in any::<bool>(), id in 1_u64.., parent in option::of(1_u64..),
        kind in option::of(prop_oneof![Just("CLIENT"), Just("SERVER"), Just("PRODUCER"), Just("CONSUMER")]),
        name in option::of("[a-z\"ü]{1,8}"), times in option::of((1_u64..1 << 50, option::of(1_u64..1 << 40))),
        local in endpoint(), remote in option::of(endpoint()),
        annotations in vec((1_u64..1 << 50, text()), 0..3), tags in tags(),
        flags in any::<(bool, bool)>(), error in option::of("[b-d]{0,4}"),
    ) -> Value {
        let trace = if wide { trace } else { trace & u128::from(u64::MAX) | 1 };
        let trace = if trace >> 64 == 0 { format!("{trace:016x}") } else { format!("{trace:032x}") };
        let parent = parent.filter(|parent| *parent != id).map(|parent| format!("{parent:016x}"));
        let annotations: Vec<_> = annotations.into_iter().map(|(time, value)| json!({"timestamp": time, "value": value})).collect();
        let mut tags: BTreeMap<String, String> = tags;
        if let Some(error) = error {
            tags.insert("error".into(), error);
            tags.insert("otel.status_code".into(), "ERROR".into());
        }
        plain(json!({
            "traceId": trace, "id": format!("{id:016x}"), "parentId": parent, "kind": kind, "name": name,
            "timestamp": times.map(|times| times.0), "duration": times.and_then(|times| times.1),
            "localEndpoint": local, "remoteEndpoint": remote, "annotations": annotations, "tags": tags,
            "debug": flags.0.then_some(true), "shared": flags.1.then_some(true),
        }))
    }
}

prop_compose! {
    fn datadog_span(trace: u64)(
        id in 1_u64.., parent in any::<u64>(), service in "[a-z]{1,4}", name in "[a-z.]{1,8}",
        resource in "[a-zA-Z /ü\"]{1,8}", of_type in "[a-z]{1,4}",
        start in 0_i64..1 << 61, duration in 0_i64..1 << 40, error in any::<bool>(),
        environment in option::of("[a-z]{1,3}"), version in option::of("[0-9]{1,3}"),
        kind in prop_oneof![Just("client"), Just("server"), Just("producer"), Just("consumer"), Just("internal")],
        tags in tags(), metrics in btree_map("y[a-z]{0,4}", quarters(), 0..3),
    ) -> Value {
        let mut meta: BTreeMap<String, String> = tags.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        meta.insert("span.kind".into(), kind.into());
        meta.extend(environment.map(|text| ("env".into(), text)));
        meta.extend(version.map(|text| ("version".into(), text)));
        json!({
            "service": service, "name": name, "resource": resource, "type": of_type, "trace_id": trace,
            "span_id": id, "parent_id": parent, "start": start, "duration": duration,
            "error": i32::from(error), "meta": meta, "metrics": metrics,
        })
    }
}

prop_compose! {
    fn datadog_trace()(trace in 1_u64.., high in any::<u64>())(
        mut spans in vec(datadog_span(trace), 1..4), high in Just(high),
    ) -> Value {
        // What is said once of a trace is said by its root, or else by its first span.
        for (at, span) in spans.iter_mut().enumerate() {
            span["span_id"] = json!(at + 1);
            span["parent_id"] = json!(at);
        }
        spans[0]["metrics"]["_sampling_priority_v1"] = json!(2.0);
        if high != 0 {
            spans[0]["meta"]["_dd.p.tid"] = json!(format!("{high:016x}"));
        }
        Value::Array(spans)
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

prop_compose! {
    fn otlp_span()(
        trace in 1_u128.., id in 1_u64.., parent in any::<u64>(), name in "[a-zü\"]{1,8}", kind in 1_i32..=5,
        start in 1_u64..1 << 50, duration in 1_u64..1 << 40, tags in tags(), failed in option::of("[a-z]{0,4}"),
    ) -> Span {
        let parent = if parent == 0 || parent == id { Vec::new() } else { parent.to_be_bytes().into() };
        let tags = tags.iter().filter(|(_, value)| !value.is_empty());
        Span {
            trace_id: trace.to_be_bytes().into(), span_id: id.to_be_bytes().into(), parent_span_id: parent,
            name, kind, start_time_unix_nano: start * 1000, end_time_unix_nano: (start + duration) * 1000,
            attributes: tags.map(|(key, value)| attribute(key, value)).collect(),
            status: failed.map(|message| Status { message, code: 2 }), ..Span::default()
        }
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource =
        Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

/// Spans with their service, in an order of their own. Attributes that Datadog's form adds are left out.
fn spans(request: &[u8]) -> Vec<(String, Span)> {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let name = format!("{:?}", resource.resource);
        for mut span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            span.attributes.retain(|attribute| attribute.key.starts_with('x'));
            span.attributes.sort_by(|one, other| one.key.cmp(&other.key));
            spans.push((name.clone(), span));
        }
    }
    spans.sort_by(|(_, one), (_, other)| {
        (&one.trace_id, &one.span_id, &one.name).cmp(&(
            &other.trace_id,
            &other.span_id,
            &other.name,
        ))
    });
    spans
}

/// With its keys in order.
fn ordered(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.into_iter().collect();
            Value::Object(map.into_iter().map(|(key, value)| (key, ordered(value))).collect())
        }
        Value::Array(list) => list.into_iter().map(ordered).collect(),
        other => other,
    }
}

fn sorted(list: &[u8]) -> Vec<String> {
    let list: Vec<Value> = serde_json::from_slice(list).unwrap();
    let mut spans: Vec<_> = list.into_iter().map(|span| ordered(span).to_string()).collect();
    spans.sort();
    spans
}

proptest! {
    #[test]
    fn zipkin_through_otlp_and_protobuf(spans in vec(zipkin_span(), 0..4)) {
        let list = Value::from(spans).to_string();
        prop_assert_eq!(zipkin::check(list.as_bytes()).unwrap(), sorted(list.as_bytes()).len());
        let (back, _) = zipkin::from_otlp(&zipkin::to_otlp(list.as_bytes()).unwrap(), zipkin::TraceIds::Whole, LIMIT).unwrap();
        prop_assert_eq!(sorted(&back), sorted(list.as_bytes()));
        let back = zipkin::from_proto(&zipkin::to_proto(list.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(sorted(&back), sorted(list.as_bytes()));
    }

    #[test]
    fn datadog_through_otlp(trace in datadog_trace()) {
        let message = msgpack::of_json(&json!([trace]));
        let (back, _) = datadog::from_otlp(&datadog::to_otlp(&message).unwrap(), datadog::Services::AsNamed, LIMIT).unwrap();
        let mut back = msgpack::to_json(&back);
        back[0].as_array_mut().unwrap().sort_by_key(|span| span["span_id"].as_u64());
        prop_assert_eq!(back, json!([trace]));
    }

    #[test]
    fn otlp_through_zipkin(sent in vec(otlp_span(), 0..4)) {
        let request = request(sent).encode_to_vec();
        let (list, _) = zipkin::from_otlp(&request, zipkin::TraceIds::Whole, LIMIT).unwrap();
        prop_assert_eq!(spans(&zipkin::to_otlp(&list).unwrap()), spans(&request));
    }

    #[test]
    fn otlp_through_datadog(sent in vec(otlp_span(), 0..4)) {
        let request = request(sent).encode_to_vec();
        let (message, written) = datadog::from_otlp(&request, datadog::Services::AsNamed, LIMIT).unwrap();
        prop_assert_eq!(datadog::check(&message).unwrap().spans, written);
        prop_assert_eq!(spans(&datadog::to_otlp(&message).unwrap()), spans(&request));
    }
}
