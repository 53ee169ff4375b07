//! The same requests through Envoy's OpenTelemetry tracer and its Zipkin tracer, both reporting to the receiver that an
//! agent has: what becomes of their spans is the same, but for what Zipkin's cannot say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use ursa_metrics::Registry;
use ursa_model::pipeline::Processor;
use ursa_model::pipeline::processor::SemanticConventions;
use ursa_otlp::process::Rules;
use ursa_pipeline::receive::{Protocol, Settings};
use ursa_pipeline::{Form, Signal, Sink};

use crate::{Shelf, ask, free, get, local, program, start, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// What callers send, and what the route answers (`0`: nobody is there).
const REQUESTS: [(&str, &[(&str, &str)]); 8] = [
    ("/200?secret=1", &[]),
    ("/404", &[("user-agent", "ua"), ("x-tenant", "acme")]),
    ("/503", &[("x-tenant", "acme")]),
    ("/0", &[]),
    ("/200", &[("content-type", "application/grpc"), ("te", "trailers")]),
    ("/503", &[("content-type", "application/grpc")]),
    ("/200", &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]),
    (
        "/200",
        &[("x-client-trace-id", "c"), ("x-request-id", "000004d2-0000-4000-8000-000000000000")],
    ),
];

/// One Envoy with four listeners: both directions, each with both tracers.
struct Rig {
    child: Child,
    listeners: BTreeMap<(&'static str, &'static str), SocketAddr>,
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/envoy.{kind}"));
    json!({"name": name, "typed_config": config})
}

fn cluster(name: &str, at: SocketAddr) -> Value {
    json!({
        "name": name, "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(at)}}]}]},
    })
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}

fn listener(direction: &str, tracer: &Value, listen: SocketAddr) -> Value {
    let answer = |code: u32| json!({"match": {"prefix": format!("/{code}")}, "direct_response": {"status": code}});
    let nobody = json!({"match": {"prefix": "/"}, "route": {"cluster": "nobody"}});
    let manager = json!({
        "stat_prefix": "in",
        "tracing": {"provider": tracer, "spawn_upstream_span": false, "custom_tags": [
            {"tag": "tenant", "request_header": {"name": "x-tenant"}}, {"tag": "team", "literal": {"value": "core"}}]},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"],
            "routes": [answer(200), answer(404), answer(503), nobody]}]},
        "http_filters": [typed("router", "extensions.filters.http.router.v3.Router", json!({}))],
    });
    let kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    json!({"address": address(listen), "traffic_direction": direction,
        "filter_chains": [{"filters": [typed("http", kind, manager)]}]})
}

impl Rig {
    async fn start(folder: &Path, envoy: &Path, spans: SocketAddr) -> Self {
        let tracers = [
            (
                "otel",
                typed(
                    "envoy.tracers.opentelemetry",
                    "config.trace.v3.OpenTelemetryConfig",
                    json!({
                "grpc_service": {"envoy_grpc": {"cluster_name": "spans"}}, "service_name": "shop"}),
                ),
            ),
            (
                "zipkin",
                typed(
                    "envoy.tracers.zipkin",
                    "config.trace.v3.ZipkinConfig",
                    json!({
                "collector_cluster": "spans", "collector_endpoint": "/api/v2/spans", "collector_endpoint_version": "HTTP_JSON",
                "trace_id_128bit": true, "shared_span_context": false, "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION"}),
                ),
            ),
        ];
        let (admin, nobody) = (free(), free());
        let (mut at, mut listeners) = (BTreeMap::new(), Vec::new());
        for direction in ["INBOUND", "OUTBOUND"] {
            for (name, tracer) in &tracers {
                let listen = free();
                at.insert((direction, *name), listen);
                listeners.push(listener(direction, tracer, listen));
            }
        }
        let runtime = json!({"tracing.opentelemetry.min_flush_spans": 1, "tracing.zipkin.min_flush_spans": 1});
        let config = json!({
            "node": {"id": "node", "cluster": "shop"},
            "admin": {"address": address(admin)},
            "layered_runtime": {"layers": [{"name": "all", "static_layer": runtime}]},
            "static_resources": {"listeners": listeners, "clusters": [cluster("spans", spans), cluster("nobody", nobody)]},
        });
        let path = folder.join("envoy.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let log = std::fs::File::create(folder.join("envoy.log")).unwrap();
        let mut command = Command::new(envoy);
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning", "-c"]);
        let child = start(command.arg(&path), log);
        until("Envoy is ready", async || get(admin, "/ready").await).await;
        Self { child, listeners: at }
    }
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.clone().unwrap().value.unwrap() {
        Any::StringValue(text) => text,
        other => format!("{other:?}"),
    }
}

fn only<T: std::fmt::Debug>(of: &[T]) -> &T {
    assert_eq!(of.len(), 1, "{of:?}");
    &of[0]
}

/// What a span says, but for its times and its own id.
fn said(span: &Span, tracer: &str) -> BTreeMap<String, String> {
    let mut said = BTreeMap::new();
    for attribute in &span.attributes {
        let (key, value) = (attribute.key.clone(), text(attribute));
        // What has no value Zipkin's tracer leaves out; an id that Envoy made is another one each time.
        if value.is_empty() || key.ends_with("request-id") || key == "envoy.request_id" {
            assert!(!value.is_empty() || tracer == "otel", "{key}");
            continue;
        }
        assert_eq!(said.insert(key.clone(), value), None, "{key} twice");
    }
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
    let status = span.status.as_ref().map(|status| (status.code, status.message.clone()));
    let is_callers =
        format!("{:032x}", u128::from_be_bytes(span.trace_id[..].try_into().unwrap())) == TRACE;
    said.insert("NAME".into(), span.name.clone());
    said.insert("KIND".into(), span.kind.to_string());
    said.insert("STATUS".into(), format!("{:?}", status.unwrap_or_default()));
    said.insert("CALLER".into(), format!("{is_callers} {:?}", span.parent_span_id));
    said.insert("EVENTS".into(), format!("{:?} {:?}", span.events, span.links));
    said
}

/// The one span that is kept, as it came and by the conventions.
fn both_ways(shelf: &Shelf, tracer: &str) -> Option<[BTreeMap<String, String>; 2]> {
    let received = shelf.kept.lock().unwrap().pop()?;
    assert_eq!((received.form, received.items), (Form::Otlp, 1));
    let rules = [Processor::SemanticConventions(SemanticConventions::default())];
    let rules = Rules::compile(&BTreeMap::new(), &BTreeMap::new(), &rules).unwrap();
    let renamed = rules.apply(Signal::Traces, &received.request).unwrap().request;
    Some([received.request, renamed].map(|request| {
        let data = TracesData::decode(request).unwrap();
        let resource = only(&data.resource_spans);
        let scope = only(&resource.scope_spans);
        assert_eq!(scope.scope.as_ref().unwrap().name, "envoy");
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        let names: BTreeSet<_> =
            attributes.iter().map(|one| (one.key.as_str(), text(one))).collect();
        assert!(names.contains(&("telemetry.sdk.name", "envoy".to_owned())), "{names:?}");
        assert!(names.contains(&("telemetry.sdk.language", "cpp".to_owned())), "{names:?}");
        said(only(&scope.spans), tracer)
    }))
}

#[tokio::test]
async fn by_either_tracer_a_request_has_the_same_span() {
    for (variable, version) in [("URSA_ENVOY", "1.40.0"), ("URSA_ENVOY_OLDEST", "1.36.4")] {
        let shelf = Arc::new(Shelf::default());
        let sink = Arc::clone(&shelf) as Arc<dyn Sink>;
        let receiver =
            Settings::new(Protocol::Envoy, local()).start(sink, &Registry::new(&[])).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let envoy = program(variable, &format!("envoy/{version}/envoy"));
        let mut rig = Rig::start(folder.path(), &envoy, receiver.address().unwrap()).await;
        for direction in ["INBOUND", "OUTBOUND"] {
            for (path, headers) in REQUESTS {
                let mut spans = Vec::new();
                for tracer in ["otel", "zipkin"] {
                    let at = rig.listeners[&(direction, tracer)];
                    let path = format!("http://shop.example{path}");
                    ask(at, "GET", &path, headers, b"").await.unwrap();
                    spans.push(until("a span", async || both_ways(&shelf, tracer)).await);
                }
                assert_eq!(spans[0], spans[1], "{version} {direction} {path} {headers:?}");
            }
        }
        rig.child.kill().await.unwrap();
        receiver.shutdown(Duration::from_secs(5)).await;
    }
}

/// Envoy follows a caller whose ids are all zero. That span is left out, and no other with it.
#[tokio::test]
async fn a_span_of_a_trace_that_is_none_costs_no_other() {
    let shelf = Arc::new(Shelf::default());
    let (sink, registry) = (Arc::clone(&shelf) as Arc<dyn Sink>, Registry::new(&[]));
    let receiver = Settings::new(Protocol::Envoy, local()).start(sink, &registry).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let envoy = program("URSA_ENVOY", "envoy/1.40.0/envoy");
    let mut rig = Rig::start(folder.path(), &envoy, receiver.address().unwrap()).await;
    let zeros = format!("{:032}-{:016}-1", 0, 0);
    let at = rig.listeners[&("INBOUND", "zipkin")];
    ask(at, "GET", "/200", &[("b3", &zeros)], b"").await.unwrap();
    ask(at, "GET", "/200", &[], b"").await.unwrap();
    until("the other span", async || both_ways(&shelf, "zipkin")).await;
    let refused = r#"ursa_pipeline_refused_items_total{receiver="otlp_grpc",signal="traces"} 1"#;
    until("it is counted", async || registry.encode().contains(refused).then_some(())).await;
    rig.child.kill().await.unwrap();
    receiver.shutdown(Duration::from_secs(5)).await;
}
