//! `docs/reference/semantic-conventions.md`: what becomes of each of Envoy's tags, found by sending it through the
//! processor. A stale page is rewritten, and the test fails once, so that the new one gets read and committed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use ursa_model::pipeline::Processor;
use ursa_model::pipeline::processor::SemanticConventions;

use super::reference::{pair, text};
use crate::Signal;
use crate::process::Rules;
use crate::process::envoy::{NAMES, SCHEMA_URL};

/// Envoy's tags: name, a value, what it says.
const TAGS: [(&str, &str, &str); 37] = [
    ("component", "proxy", "that the span is Envoy's"),
    ("downstream_cluster", "shop", "the header `x-envoy-downstream-service-cluster`"),
    ("error", "true", "the request failed; the span's status is then an error"),
    ("error.reason", "timeout", "why an upstream span failed"),
    ("grpc.authority", "cart:80", "`:authority` of a gRPC request"),
    ("grpc.content_type", "application/grpc", "its content type"),
    ("grpc.message", "no such cart", "gRPC's message"),
    ("grpc.path", "/shop.Cart/Add", "its path"),
    ("grpc.path", "/odd", "its path, where that names no method"),
    ("grpc.status_code", "5", "gRPC's status where that is the client's fault"),
    ("grpc.status_code", "14", "gRPC's status where that is the server's fault"),
    ("grpc.timeout", "1S", "its deadline"),
    ("guid:x-client-trace-id", "7", "the header `x-client-trace-id`"),
    ("guid:x-request-id", "f2a1", "the header `x-request-id`"),
    ("http.method", "GET", "the method"),
    ("http.method", "BREW", "the method, where it is none of RFC 9110 or RFC 5789"),
    ("http.protocol", "HTTP/1.1", "the protocol"),
    ("http.route", "/carts/{id}", "the route, where a tag of that name says it"),
    ("http.status_code", "200", "the status"),
    ("http.status_code", "404", "a status that is the client's fault"),
    ("http.status_code", "503", "a status that is the server's fault"),
    ("http.status_code", "0", "there was no response"),
    ("http.url", "https://shop:8443/carts?id=1", "the URL"),
    ("node_id", "default.cart-1", "Envoy's node"),
    ("peer.address", "10.0.0.7:4711", "the connection's other side"),
    ("request_size", "12", "bytes of the request's body"),
    ("response_flags", "UF", "why Envoy answered itself"),
    ("response_size", "34", "bytes of the response's body"),
    ("retry.count", "1", "which attempt an upstream span is"),
    ("status", "canceled", "of an upstream span"),
    ("upstream_address", "10.0.0.9:80", "where the request went"),
    ("upstream_cluster", "cart", "the cluster"),
    ("upstream_cluster.name", "cart", "the name under which the cluster counts"),
    ("user_agent", "curl/8.5.0", "the header `user-agent`"),
    ("user_agent", "-", "there was none"),
    ("zone", "east", "Envoy's zone"),
    ("any other", "x", "a tag of the policy"),
];

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// The attributes of a span of Envoy's of that kind with this one tag, each as `name=value`.
fn outcome(kind: i32, tag: &str, value: &str) -> Vec<String> {
    let mut attributes = vec![pair(tag, text(value))];
    if tag != "component" {
        attributes.push(pair("component", text("proxy")));
    }
    let span = Span { name: "ingress".to_owned(), kind, attributes, ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    let conventions = Processor::SemanticConventions(SemanticConventions::default());
    let rules = Rules::compile(&[].into(), &[].into(), &[conventions]).unwrap();
    let request = rules.apply(Signal::Traces, &request).unwrap().request;
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let mut found = Vec::new();
    for one in &request.resource_spans[0].scope_spans[0].spans[0].attributes {
        if tag != "component" && one.key == "envoy.component" {
            continue;
        }
        let value = match one.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Any::StringValue(text)) => text.clone(),
            Some(Any::IntValue(number)) => number.to_string(),
            other => panic!("{other:?}"),
        };
        found.push(format!("{}={value}", one.key));
    }
    found
}

#[test]
fn the_reference_page_is_up_to_date() {
    let schema = std::str::from_utf8(SCHEMA_URL).unwrap();
    let mut page = format!(
        "# Semantic conventions

Spans leave with the names and types of [OpenTelemetry's conventions]({schema}), which is also their schema URL. What only
Envoy knows is under `envoy.*`. `semanticConventions: envoy` in a MeshTrace keeps Envoy's own names.
Log records' attributes are [on a page of their own](access-log-records.md).

The span's name is `{{method}} {{route}}` where a route is known, else `{{method}}`; for gRPC `{{service}}/{{method}}`. Its kind is
server for requests to a service, and client for those that a service makes. Its status is an error where Envoy says so,
where HTTP's status is 5xx, or 4xx in a client span, and where gRPC's is the server's fault, or not OK in a client span;
`error.type` then says which. URLs are redacted: `?id=1` becomes `?REDACTED` unless a processor says otherwise.

## Spans

Each row is one of Envoy's tags with a value, and what becomes of it. A name that a span has already is not given twice:
the tag then stays as it is.

| Envoy's tag | says | server span | client span |
|---|---|---|---|
"
    );
    let mut given = BTreeSet::new();
    for (tag, value, meaning) in TAGS {
        let [server, client] = [SERVER, CLIENT].map(|kind| {
            let found = outcome(kind, tag, value);
            given.extend(found.iter().filter_map(|one| one.split('=').next()).map(str::to_owned));
            let found: Vec<_> = found.iter().map(|one| format!("`{one}`")).collect();
            if found.is_empty() { "left out".to_owned() } else { found.join("<br>") }
        });
        let client = if client == server { "the same".to_owned() } else { client };
        writeln!(page, "| `{tag}={value}` | {meaning} | {server} | {client} |").unwrap();
    }
    let missing: Vec<_> = NAMES
        .iter()
        .map(|name| std::str::from_utf8(name.text).unwrap())
        .filter(|name| !given.contains(*name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "every name that is given is on the page");
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/semantic-conventions.md");
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&page) {
        std::fs::write(&path, page).unwrap();
        panic!("docs/reference was stale and has been rewritten, read and commit it");
    }
}
