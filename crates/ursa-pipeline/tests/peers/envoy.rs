//! Envoy's tracers of Zipkin and Datadog, reporting to our receivers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use ursa_metrics::Registry;
use ursa_otlp::{datadog, zipkin};
use ursa_pipeline::receive::{Protocol, Settings};
use ursa_pipeline::{Form, Sink};

use crate::{Shelf, ask, free, get, local, program, start, until};

const REQUESTS: usize = 20;

/// An Envoy that answers itself and reports every request to the cluster `spans`.
async fn run(folder: &Path, tracer: &Value, spans: SocketAddr) -> (Child, SocketAddr) {
    let (listen, admin) = (free(), free());
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "tracing": {"provider": tracer, "random_sampling": {"value": 100}},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 503}}]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    let config = json!({
        "node": {"id": "node", "cluster": "shop"},
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [{"address": address(listen), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}],
            "clusters": [{"name": "spans", "type": "STATIC", "load_assignment": {"cluster_name": "spans", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(spans)}}]}]}}],
        },
    });
    let path = folder.join("envoy.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let log = std::fs::File::create(folder.join("envoy.log")).unwrap();
    let mut envoy = Command::new(program("URSA_ENVOY", "envoy/1.40.0/envoy"));
    envoy.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "warning", "-c"]);
    let envoy = start(envoy.arg(&path), log);
    until("Envoy is ready", async || get(admin, "/ready").await).await;
    (envoy, listen)
}

/// Requests through an Envoy with that tracer; what arrived, joined, once all spans are there.
async fn traced(
    protocol: Protocol,
    form: Form,
    tracer: &Value,
    count: fn(&[u8]) -> usize,
) -> Vec<u8> {
    let shelf = Arc::new(Shelf::default());
    let sink = Arc::clone(&shelf) as Arc<dyn Sink>;
    let receiver = Settings::new(protocol, local()).start(sink, &Registry::new(&[])).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut envoy, listen) = run(folder.path(), tracer, receiver.address().unwrap()).await;
    for number in 0..REQUESTS {
        let (status, ..) = ask(listen, "GET", &format!("/{number}"), &[], b"").await.unwrap();
        assert_eq!(status, 503);
    }
    let log = || std::fs::read_to_string(folder.path().join("envoy.log")).unwrap();
    let joined = until("all spans arrive", async || {
        let kept = shelf.kept.lock().unwrap();
        assert!(kept.iter().all(|received| received.form == form));
        let requests: Vec<_> = kept.iter().map(|received| received.request.clone()).collect();
        let joined = match form {
            Form::Zipkin => zipkin::join(&requests).concat(),
            _ => datadog::join(&requests).pieces.concat(),
        };
        (count(&joined) == REQUESTS).then_some(joined)
    })
    .await;
    envoy.kill().await.unwrap();
    receiver.shutdown(Duration::from_secs(5)).await;
    assert!(!log().contains("[error]"), "{}", log());
    joined
}

fn spans_of_zipkin(list: &[u8]) -> usize {
    zipkin::check(list).unwrap()
}

fn spans_of_datadog(message: &[u8]) -> usize {
    datadog::check(message).unwrap().spans
}

#[tokio::test]
async fn zipkin_json_and_protobuf() {
    for version in ["HTTP_JSON", "HTTP_PROTO"] {
        let tracer = json!({"name": "envoy.tracers.zipkin", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "spans", "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": version, "trace_id_128bit": true,
        }});
        let list = traced(Protocol::Zipkin, Form::Zipkin, &tracer, spans_of_zipkin).await;
        let spans: Vec<Value> = serde_json::from_slice(&list).unwrap();
        for span in &spans {
            assert_eq!(span["kind"], "SERVER", "{version}: {span}");
            assert_eq!(span["localEndpoint"]["serviceName"], "shop", "{version}: {span}");
            assert_eq!(span["tags"]["http.status_code"], "503", "{version}: {span}");
            assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
        }
        let request = zipkin::to_otlp(&list).unwrap();
        let (back, written) =
            zipkin::from_otlp(&request, zipkin::TraceIds::Whole, 1 << 20).unwrap();
        assert_eq!(written, REQUESTS);
        let mut back: Vec<Value> = serde_json::from_slice(&back).unwrap();
        for (span, back) in spans.iter().zip(&mut back) {
            let mut span = span.clone();
            // What says nothing does not come back; an error is said in OpenTelemetry's words, too.
            span.as_object_mut().unwrap().retain(|_, value| *value != json!(false));
            let local = span["localEndpoint"].as_object_mut().unwrap();
            local.retain(|_, value| *value != json!(0));
            let code = back["tags"].as_object_mut().unwrap().remove("otel.status_code");
            assert_eq!(code, Some("ERROR".into()), "{version}");
            assert_eq!(*back, span, "{version}");
        }
    }
}

#[tokio::test]
async fn datadogs_tracer() {
    let tracer = json!({"name": "envoy.tracers.datadog", "typed_config": {
        "@type": "type.googleapis.com/envoy.config.trace.v3.DatadogConfig",
        "collector_cluster": "spans", "service_name": "shop",
    }});
    let message = traced(Protocol::Datadog, Form::Datadog, &tracer, spans_of_datadog).await;
    let request = datadog::to_otlp(&message).unwrap();
    let (back, written) =
        datadog::from_otlp(&request, datadog::Services::AsNamed, 1 << 20).unwrap();
    assert_eq!(written, REQUESTS);
    assert_eq!(datadog::check(&back).unwrap(), datadog::check(&message).unwrap());
    // The same spans again, whatever the order of their traces and fields.
    assert_eq!(
        datadog::from_otlp(&datadog::to_otlp(&back).unwrap(), datadog::Services::AsNamed, 1 << 20)
            .unwrap()
            .0,
        back
    );
}
