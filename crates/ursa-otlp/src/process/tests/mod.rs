//! Processors on the wire against the same on decoded messages.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::unnecessary_wraps,
    reason = "a test fails by panicking, and wants few words"
)]

mod cases;
mod conventions;
mod page;
mod quick;
mod reference;
mod registry;

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use ursa_model::pipeline::Processor;

use super::*;
use crate::wire;
use crate::wire::fields::{put_bytes, put_varint};

/// Few keys and values, so that they meet one another and the rules.
fn attribute() -> impl Strategy<Value = KeyValue> {
    let key = prop::sample::select(vec![
        "a",
        "ab",
        "b",
        "component",
        "component",
        "error",
        "url.full",
        "url.query",
        "url.query",
        "url.path",
        "http.url",
        "http.url",
        "http.method",
        "http.request.method",
        "http.status_code",
        "grpc.path",
        "grpc.status_code",
        "peer.address",
        "http.protocol",
        "user_agent",
        "response_flags",
        "envoy.response_flags",
        "upstream_cluster",
        "request_size",
        "http.route",
        "zone",
        "server.address",
    ]);
    let text = prop::sample::select(vec![
        "",
        "x",
        "proxy",
        "proxy",
        "proxy",
        "true",
        "-",
        "0",
        "200",
        "503",
        "GET",
        "get",
        "HTTP/1.1",
        "/s.V/M",
        "/s/",
        "1.2.3.4:80",
        "[::1]:443",
        "::1",
        "UF",
        "+5",
        "http://u:p@h:8080/p?a=1&b#f",
        "https://h/p",
        "://h",
        "http://h?q",
        "/p?x=&y=2&#",
        "/p#f",
        "//u@h/x@y?",
        "REDACTED",
        "h:99999",
        "a=b#c",
        "u:p@h/p",
        "jdbc:mysql://u:p@h/d?a=1",
        "to http://u@h/?a=1 and <https://h/#f>, \"ä://?b=2\"",
        "(see https://example.org/a/long/way/to/go?a=1)",
        "x ://h?q http://h?q",
        "http://h/a,://x@y,http://u:p@h/,http://h?a,http://u@h",
        "/p/http://http://u:p@h:80http://u@h/#://x@y",
    ]);
    let item = || {
        text.clone().prop_map(|text| AnyValue { value: Some(Any::StringValue(text.to_owned())) })
    };
    let list = vec(item(), 0..3).prop_map(|values| Some(Any::ArrayValue(ArrayValue { values })));
    let value = prop_oneof![
        12 => text.prop_map(|text| Some(Any::StringValue(text.to_owned()))),
        2 => list,
        1 => any::<i64>().prop_map(|value| Some(Any::IntValue(value))),
        1 => any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        1 => (-1e9..1e9_f64).prop_map(|value| Some(Any::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..200).prop_map(|value| Some(Any::BytesValue(value))),
        1 => Just(None),
    ];
    (key, prop::option::weighted(0.95, value))
        .prop_map(|(key, value)| reference::pair(key, value.map(|value| AnyValue { value })))
}

fn span() -> impl Strategy<Value = Span> {
    let name = prop::sample::select(vec![
        "ingress",
        "egress h",
        "egress",
        "GET /",
        "",
        "GET /p?a=1 b",
        "http://u:p@h/p#f",
        "to(http://u:p@h/p) ://?x /@?",
    ]);
    let message = prop::sample::select(vec!["", "m", "get http://u:p@h/?a=1: refused", "why? @"]);
    let parts = (vec(attribute(), 0..8), vec(attribute(), 0..3), 0..4_i32, 0..3_i32, message);
    (name, parts, 0..3_u64, any::<bool>()).prop_map(|(name, parts, time, whole)| {
        let (attributes, within, kind, code, message) = parts;
        let mut span = Span { name: name.into(), kind, attributes, ..Span::default() };
        span.trace_id = vec![7; 16];
        span.span_id = vec![9; 8];
        span.end_time_unix_nano = time * 1_000_000;
        if whole {
            span.events = vec![Event { attributes: within.clone(), ..Event::default() }; 2];
            span.links = vec![Link { attributes: within, ..Link::default() }];
            span.status = Some(Status { message: message.into(), code });
        }
        span
    })
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = prop::option::of(vec(attribute(), 0..3)).prop_map(|attributes| {
        attributes.map(|attributes| InstrumentationScope { attributes, ..Default::default() })
    });
    let scopes = (scope, vec(span(), 0..4), "|s")
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource = prop::option::of(vec(attribute(), 0..4))
        .prop_map(|list| list.map(|attributes| Resource { attributes, ..Resource::default() }));
    let spans = (resource, vec(scopes, 0..3)).prop_map(|(resource, scope_spans)| ResourceSpans {
        resource,
        scope_spans,
        ..ResourceSpans::default()
    });
    vec(spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn processor() -> impl Strategy<Value = Processor> {
    let processors = json!([
        {"resourceAttributes": {"set": {"a": "x", "new": "1"}, "fill": {"b": "y", "a": "no"}, "remove": ["zone", "ab"]}},
        {"resourceAttributes": {"remove": ["a", "component"]}},
        {"semanticConventions": {}},
        {"envoyTags": {"set": {"a": "x", "http.url": "http://u:p@h/?q", "new": "1"}}},
        {"envoyTags": {"set": {"b": "ab"}}},
        {"attributes": {"include": ["a*", "component", "http.*", "url.*"], "exclude": ["ab"]}},
        {"attributes": {"in": ["resource", "scope"], "redact": ["a"], "exclude": ["b*"]}},
        {"attributes": {"redact": ["http.*"], "hash": ["*"]}},
        {"redactUrls": {}},
        {"redactUrls": {"query": "values", "credentials": false, "also": ["a"]}},
        {"redactUrls": {"query": "keep"}},
        {"filter": {"name": "drop a", "drop": [{"attributes": {"a": {"exact": "x"}}}, {"kind": "client", "status": "error"}]}},
        {"filter": {"name": "keep long", "keep": [{"atLeast": "1ms"}, {"spanName": {"regex": "^(in|e)gress"}}]}},
        {"filter": {"name": "by resource", "drop": [{"resourceAttributes": {"a": {"prefix": "x"}, "b": {"present": false}}}]}},
        {"filter": {"name": "numbers", "drop": [{"attributes": {"http.status_code": {"regex": "^[0-9]+$"}}}, {"shorterThan": "1ms", "attributes": {"http.response.status_code": {"exact": "503"}}}]}},
    ]);
    let processors: Vec<Processor> = serde_json::from_value(processors).unwrap();
    prop::sample::select(processors)
}

fn compile(processors: &[Processor]) -> Rules {
    Rules::compile(&BTreeMap::new(), &BTreeMap::new(), processors).unwrap()
}

fn decode(bytes: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(bytes).unwrap()
}

/// Applies processors on the wire and on decoded messages and compares.
fn compare(bytes: &Bytes, processors: &[Processor]) {
    let processed = compile(processors).apply(Signal::Traces, bytes).unwrap();
    let found = wire::inspect(Signal::Traces, bytes).unwrap();
    let checked = compile(processors).apply_checked(Signal::Traces, bytes, found).unwrap();
    assert_eq!(checked, processed);
    let mut long = compile(processors);
    long.plans.iter_mut().for_each(|plan| plan.quick = None);
    assert_eq!(long.apply(Signal::Traces, bytes).unwrap(), processed, "both ways lead to the same");
    let mut expected = decode(bytes);
    let mut processors = processors.to_vec();
    if !processors.iter().any(|one| matches!(one, Processor::RedactUrls(_))) {
        processors.push(Processor::RedactUrls(RedactUrls::default()));
    }
    let mut dropped = reference::apply(&mut expected, &processors);
    let before = wire::check(Signal::Traces, bytes).unwrap();
    assert_eq!(decode(&processed.request), expected);
    assert_eq!(wire::check(Signal::Traces, &processed.request), Ok(processed.items));
    let filtered: usize = processed.filtered.iter().map(|filtered| filtered.items).sum();
    assert_eq!(processed.items + filtered, before);
    let of = |one: &Filtered| (one.rule.to_string(), one.items);
    // Filters of one name stand in both in their order.
    dropped.retain(|(_, items)| *items > 0);
    assert_eq!(processed.filtered.iter().map(of).collect::<Vec<_>>(), dropped);
    if processed.request == *bytes {
        assert_eq!(processed.request.as_ptr(), bytes.as_ptr(), "nothing is copied for nothing");
    }
}

/// The same request written as nobody writes it: fields of every message turned round or cut in
/// two, unknown fields between them, lengths longer than needed.
fn odd(message: &[u8], depth: usize, choice: &mut dyn FnMut() -> u8) -> Vec<u8> {
    let fields: Vec<_> = wire::Fields::new(message).map(Result::unwrap).collect();
    let mut out = Vec::new();
    for field in fields {
        match field.value {
            // Messages on the way from the request to a span's attributes.
            wire::Value::Bytes(body) if is_message(depth, field.number) => {
                let body = odd(body, depth + 1, choice);
                put_varint(&mut out, u64::from(field.number) << 3 | 2);
                let mut length = Vec::new();
                put_varint(&mut length, body.len() as u64);
                if choice().is_multiple_of(4) {
                    *length.last_mut().unwrap() |= 0x80;
                    length.push(0);
                }
                out.extend(length);
                out.extend(body);
            }
            _ => out.extend_from_slice(field.raw),
        }
        if choice().is_multiple_of(8) {
            put_bytes(&mut out, 900, b"unknown");
        }
    }
    out
}

fn is_message(depth: usize, number: u32) -> bool {
    matches!((depth, number), (0, 1) | (1 | 2, 1 | 2) | (3, 9 | 11 | 13 | 15))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn wire_equals_decoded(request in request(), processors in vec(processor(), 0..5)) {
        compare(&request.encode_to_vec().into(), &processors);
    }

    /// Two resources' parts joined, each with a resource of its own, are one message.
    #[test]
    fn split_messages_are_one(
        request in request(),
        cut in any::<u8>(),
        processors in vec(processor(), 0..4),
        choices in vec(any::<u8>(), 1..64),
    ) {
        let parts: Vec<_> = request.resource_spans.iter().map(Message::encode_to_vec).collect();
        let mut bytes = Vec::new();
        match parts.as_slice() {
            [one, two, ..] if cut & 1 == 0 => put_bytes(&mut bytes, 1, &[two.clone(), one.clone()].concat()),
            _ => bytes = request.encode_to_vec(),
        }
        let mut at = 0;
        let mut choice = || { at += 1; choices[at % choices.len()] };
        compare(&odd(&bytes, 0, &mut choice).into(), &processors);
    }

    #[test]
    fn reversed_fields_are_the_same(request in request(), processors in vec(processor(), 1..4)) {
        fn reversed(message: &[u8], depth: usize) -> Vec<u8> {
            let fields: Vec<_> = wire::Fields::new(message).map(Result::unwrap).collect();
            let mut out = Vec::new();
            // Repeated fields keep their order among themselves.
            let mut numbers: Vec<u32> = fields.iter().map(|field| field.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            for number in numbers.into_iter().rev() {
                for field in fields.iter().filter(|field| field.number == number) {
                    match field.value {
                        wire::Value::Bytes(body) if is_message(depth, number) || depth == 4 => {
                            put_bytes(&mut out, number, &if depth == 4 { body.to_vec() } else { reversed(body, depth + 1) });
                        }
                        _ => out.extend_from_slice(field.raw),
                    }
                }
            }
            out
        }
        compare(&reversed(&request.encode_to_vec(), 0).into(), &processors);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300), processors in vec(processor(), 0..4)) {
        let bytes = Bytes::from(bytes);
        for signal in Signal::ALL {
            let processed = compile(&processors).apply(signal, &bytes);
            if let Ok(items) = wire::check(signal, &bytes) {
                let processed = processed.unwrap();
                let found = wire::inspect(signal, &bytes).unwrap();
                let checked = compile(&processors).apply_checked(signal, &bytes, found).unwrap();
                prop_assert_eq!(&checked, &processed);
                let filtered: usize = processed.filtered.iter().map(|one| one.items).sum();
                prop_assert_eq!(processed.items + filtered, items);
                prop_assert_eq!(wire::check(signal, &processed.request), Ok(processed.items));
            }
        }
    }
}
