//! What a span costs on the wire: `cargo run --release -p ursa-otlp --example wire_speed`.

#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(clippy::unwrap_used, reason = "it knows what it compiles")]
#![expect(clippy::disallowed_types, reason = "it measures real time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use ursa_model::pipeline::Processor;
use ursa_otlp::Signal;
use ursa_otlp::process::Rules;
use ursa_otlp::wire;

/// Spans of a request.
const SPANS: usize = 100;
/// Attributes as Envoy writes them.
const ATTRIBUTES: [(&str, &str); 16] = [
    ("node_id", "default.backend-v1-5c8f"),
    ("zone", "zone-1"),
    ("guid:x-request-id", "3e7f2c1e-1d0b-9a51-8c55-1f2e3d4c5b6a"),
    ("http.url", "http://backend.mesh:3001/items/42"),
    ("http.method", "GET"),
    ("downstream_cluster", "-"),
    ("user_agent", "Go-http-client/1.1"),
    ("http.protocol", "HTTP/1.1"),
    ("peer.address", "10.244.1.7"),
    ("request_size", "0"),
    ("response_size", "1234"),
    ("component", "proxy"),
    ("upstream_cluster", "localhost_3001"),
    ("upstream_cluster.name", "localhost_3001"),
    ("http.status_code", "200"),
    ("response_flags", "-"),
];

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn request() -> Bytes {
    let span = Span {
        trace_id: vec![0xa7; 16],
        span_id: vec![0xb3; 8],
        parent_span_id: vec![0xc9; 8],
        name: "ingress".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_790_000_000_123_456_789,
        end_time_unix_nano: 1_790_000_000_223_456_789,
        attributes: ATTRIBUTES.iter().map(|(key, value)| text(key, value)).collect(),
        status: Some(Status::default()),
        flags: 0x101,
        ..Span::default()
    };
    let resource = Some(Resource {
        attributes: vec![text("service.name", "backend"), text("host.name", "node-1")],
        ..Resource::default()
    });
    let scope_spans = vec![ScopeSpans { spans: vec![span; SPANS], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

/// The best of many short rounds, since others use the machine too, in nanoseconds for one span.
fn time<T>(name: &str, mut work: impl FnMut() -> T) {
    const TIMES: usize = 20;
    let round = || {
        let start = Instant::now();
        for _ in 0..TIMES {
            black_box(work());
        }
        start.elapsed().as_nanos() as f64 / (TIMES * SPANS) as f64
    };
    let best = std::iter::repeat_with(round).take(300).fold(f64::INFINITY, f64::min);
    println!("{name:40} {best:7.1} ns per span");
}

fn main() {
    let request = request();
    println!("{} bytes for {SPANS} spans", request.len());
    let set = [("service.name", "shop"), ("k8s.cluster.name", "one"), ("mesh", "default")];
    let set: BTreeMap<_, _> = set.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let processors = |json: &str| -> Vec<Processor> { serde_json::from_str(json).unwrap() };
    let all = r#"[
        {"semanticConventions": {}},
        {"attributes": {"exclude": ["envoy.node_id"], "redact": ["user.*"], "hash": ["enduser.id"]}},
        {"filter": {"name": "health", "drop": [{"attributes": {"url.path": {"exact": "/healthz"}}}]}}
    ]"#;
    let rules = [
        ("default (URLs)", Rules::compile(&BTreeMap::new(), &BTreeMap::new(), &[])),
        ("resource attributes", Rules::compile(&set, &BTreeMap::new(), &[])),
        (
            "resource attributes, conventions",
            Rules::compile(&set, &BTreeMap::new(), &processors(r#"[{"semanticConventions": {}}]"#)),
        ),
        ("all processors", Rules::compile(&set, &BTreeMap::new(), &processors(all))),
    ];
    time("check", || wire::check(Signal::Traces, black_box(&request)));
    time("span_ids", || wire::span_ids(black_box(&request)).count());
    for (name, rules) in rules {
        let rules = rules.unwrap();
        time(name, || rules.apply(Signal::Traces, black_box(&request)));
        time(&format!("check and {name}"), || {
            let found = wire::inspect(Signal::Traces, black_box(&request)).unwrap();
            rules.apply_checked(Signal::Traces, &request, found)
        });
    }
}
