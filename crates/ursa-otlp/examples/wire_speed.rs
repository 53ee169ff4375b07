//! What a span costs on the wire: `cargo run --release -p ursa-otlp --example wire_speed`.
//!
//! With the name of a request, of a case and a number it does that case so often and says nothing,
//! which is what a counter of instructions wants: `wire_speed mixed conventions 100`.

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

/// What else Envoy says, by kind of span: a call out, one by gRPC, one that failed, and one whose
/// client says more of itself than a length of one byte can hold.
const OTHERS: [&[(&str, &str)]; 4] = [
    &[
        ("http.url", "http://orders.mesh:8080/v1/carts/8c1f0a36-51a2/items"),
        ("http.method", "POST"),
        ("peer.address", "10.244.3.18:8080"),
        ("upstream_cluster", "orders_mesh_8080_http"),
        ("upstream_cluster.name", "orders_mesh_8080_http"),
        ("upstream_address", "10.244.3.18:8080"),
        ("http.status_code", "201"),
    ],
    &[
        ("http.url", "http://ledger.mesh:9000/shop.ledger.v1.Ledger/Append"),
        ("http.method", "POST"),
        ("http.protocol", "HTTP/2"),
        ("user_agent", "grpc-go/1.71.0"),
        ("grpc.path", "/shop.ledger.v1.Ledger/Append"),
        ("grpc.authority", "ledger.mesh:9000"),
        ("grpc.content_type", "application/grpc"),
        ("grpc.status_code", "0"),
    ],
    &[
        ("http.url", "http://backend.mesh:3001/items/7"),
        ("http.status_code", "503"),
        ("response_flags", "UF"),
        ("error", "true"),
    ],
    &[
        ("http.url", "https://shop.example/assets/app.js"),
        (
            "user_agent",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/138.0.0.0 Safari/537.36",
        ),
        ("http.protocol", "HTTP/2"),
    ],
];

/// A span as Envoy writes it, with `others` in place of or besides the usual.
fn span(kind: i32, others: &[(&str, &str)]) -> Span {
    let usual = ATTRIBUTES.iter().filter(|(key, _)| !others.iter().any(|(other, _)| other == key));
    Span {
        trace_id: vec![0xa7; 16],
        span_id: vec![0xb3; 8],
        parent_span_id: vec![0xc9; 8],
        name: "ingress".to_owned(),
        kind,
        start_time_unix_nano: 1_790_000_000_123_456_789,
        end_time_unix_nano: 1_790_000_000_223_456_789,
        attributes: usual.chain(others).map(|(key, value)| text(key, value)).collect(),
        status: Some(Status::default()),
        flags: 0x101,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Bytes {
    let resource = Some(Resource {
        attributes: vec![text("service.name", "backend"), text("host.name", "node-1")],
        ..Resource::default()
    });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

/// Spans of all kinds, in no order that a processor could foresee.
fn mixed() -> Vec<Span> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize
    };
    let kind = |at: usize| match at {
        0 => span(2, &[]),
        1 => span(3, OTHERS[0]),
        other => span(2, OTHERS[other - 1]),
    };
    std::iter::repeat_with(|| kind(next() % 5)).take(SPANS).collect()
}

/// The same, and one of eight URLs has a query.
fn queries() -> Vec<Span> {
    let mut spans = mixed();
    for attribute in spans.iter_mut().step_by(8).flat_map(|span| &mut span.attributes) {
        if let (true, Some(Any::StringValue(url))) = (
            attribute.key == "http.url",
            attribute.value.as_mut().and_then(|any| any.value.as_mut()),
        ) {
            url.push_str("?page=2&of=9");
        }
    }
    spans
}

/// The best of many short rounds, since others use the machine too, in nanoseconds for one span.
fn time(name: &str, work: &dyn Fn()) {
    const TIMES: usize = 20;
    let round = || {
        let start = Instant::now();
        for _ in 0..TIMES {
            work();
        }
        start.elapsed().as_nanos() as f64 / (TIMES * SPANS) as f64
    };
    let best = std::iter::repeat_with(round).take(300).fold(f64::INFINITY, f64::min);
    println!("  {name:26} {best:7.1} ns per span");
}

/// The rules that are measured, by name.
fn rules() -> Vec<(&'static str, Rules)> {
    let set = [("service.name", "shop"), ("k8s.cluster.name", "one"), ("mesh", "default")];
    let set: BTreeMap<_, _> = set.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let compile = |set: &BTreeMap<_, _>, json: &str| {
        let processors: Vec<Processor> = serde_json::from_str(json).unwrap();
        Rules::compile(set, &BTreeMap::new(), &processors).unwrap()
    };
    let all = r#"[
        {"semanticConventions": {}},
        {"attributes": {"exclude": ["envoy.node_id"], "redact": ["user.*"], "hash": ["enduser.id"]}},
        {"filter": {"name": "health", "drop": [{"attributes": {"url.path": {"exact": "/healthz"}}}]}}
    ]"#;
    vec![
        ("default", compile(&BTreeMap::new(), "[]")),
        ("resource", compile(&set, "[]")),
        ("conventions", compile(&set, r#"[{"semanticConventions": {}}]"#)),
        ("all", compile(&set, all)),
    ]
}

fn main() {
    let requests = [
        ("same", request(vec![span(2, &[]); SPANS])),
        ("mixed", request(mixed())),
        ("queries", request(queries())),
    ];
    let rules = rules();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let counted = match arguments.as_slice() {
        [request, case, times] => Some((request.as_str(), case.as_str(), times.parse().unwrap())),
        _ => None,
    };
    for (kind, request) in &requests {
        if counted.is_none() {
            println!("{kind}: {} bytes for {SPANS} spans", request.len());
        }
        let found = wire::inspect(Signal::Traces, request).unwrap();
        let run = |name: &str, work: &dyn Fn()| match counted {
            None => time(name, work),
            Some((of, case, times)) if of == *kind && case == name => {
                (0..times).for_each(|_: usize| work());
            }
            Some(_) => {}
        };
        run("check", &|| {
            black_box(wire::inspect(Signal::Traces, black_box(request)).unwrap());
        });
        run("span_ids", &|| {
            black_box(wire::span_ids(black_box(request)).count());
        });
        for (name, rules) in &rules {
            run(name, &|| {
                black_box(rules.apply_checked(Signal::Traces, black_box(request), found).unwrap());
            });
        }
    }
}
