//! Zipkin's server and Datadog's test agent behind a pipeline: native spans come out as they went in,
//! and OTLP spans as the backend's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use ursa_metrics::Registry;
use ursa_otlp::datadog;
use ursa_pipeline::receive::{Protocol, Receiver, Settings};
use ursa_pipeline::{Pipeline, PipelineInputs, Received, Signal};

use crate::{PATIENCE, ask, free, get, local, program, start, until};

/// A span of OTLP in a trace of its own.
const OTLP_TRACE: u128 = 0x5af7_6519_16cd_43dd_8448_eb21_1c80_319c;

fn otlp() -> Received {
    let span = Span {
        trace_id: OTLP_TRACE.to_be_bytes().into(),
        span_id: 9_u64.to_be_bytes().into(),
        name: "GET /otlp".into(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_900_000,
        status: Some(Status { code: 2, message: "broken".into() }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    Received::otlp(Signal::Traces, request, 1, &"test".into())
}

/// A pipeline with a receiver of that protocol and these backends.
async fn pipeline(protocol: Protocol, backends: Value) -> (Pipeline, Receiver) {
    let registry = Registry::new(&[]);
    let inputs = PipelineInputs {
        environment: BTreeMap::new(),
        detected: BTreeMap::new(),
        registry: registry.clone(),
        storage: None,
    };
    let pipeline = Pipeline::start(inputs);
    let task = json!({"resource": {"service.name": "ursa"}, "traces": {"backends": backends}});
    pipeline.reconfigure(serde_json::from_value(task).unwrap(), &BTreeMap::new()).await;
    let receiver = Settings::new(protocol, local()).start(pipeline.sink(), &registry).await;
    (pipeline, receiver.unwrap())
}

async fn stop_pipeline(pipeline: Pipeline, receiver: Receiver) {
    receiver.shutdown(PATIENCE).await;
    for backend in pipeline.status().await.backends {
        assert_eq!(backend.last_error, None, "{backend:?}");
    }
    assert_eq!(pipeline.shutdown(PATIENCE).await, 0);
}

async fn zipkin_server() -> (Child, SocketAddr) {
    let at = free();
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-jar"]).arg(program("URSA_ZIPKIN", "peers/zipkin/3.6.1/zipkin.jar"));
    let server = start(java.env("QUERY_PORT", at.port().to_string()), Stdio::null());
    until("Zipkin is ready", async || get(at, "/health").await).await;
    (server, at)
}

#[tokio::test]
async fn zipkin_keeps_ids_that_client_and_server_share() {
    let (mut server, at) = zipkin_server().await;
    for version in ["httpJson", "httpProto"] {
        let url = format!("http://{at}/api/v2/spans");
        let spec = json!({"zipkin": {"url": url, "apiVersion": version}});
        let backends = json!([{"name": version, "spec": spec}]);
        let (pipeline, receiver) = pipeline(Protocol::Zipkin, backends).await;
        let trace = if version == "httpJson" {
            "463ac35c9f6413ad48485a3953bb6124"
        } else {
            "48485a3953bb6124"
        };
        let sent = json!([
            {"traceId": trace, "id": "a2fb4a1d1a96d312", "kind": "CLIENT", "name": "get /", "timestamp": 1_700_000_000_000_000_u64, "duration": 2000,
             "localEndpoint": {"serviceName": "frontend", "ipv4": "10.0.0.1"}, "remoteEndpoint": {"serviceName": "backend", "ipv4": "10.0.0.2", "port": 80},
             "annotations": [{"timestamp": 1_700_000_000_000_100_u64, "value": "ws"}], "tags": {"http.path": "/ü"}},
            {"traceId": trace, "id": "a2fb4a1d1a96d312", "kind": "SERVER", "name": "get /", "timestamp": 1_700_000_000_000_500_u64, "duration": 900,
             "localEndpoint": {"serviceName": "backend", "ipv6": "2001:db8::1"}, "tags": {"error": "timeout"}, "shared": true},
        ]);
        let json = [("content-type", "application/json")];
        let to = receiver.address().unwrap();
        let answer = ask(to, "POST", "/api/v2/spans", &json, sent.to_string().as_bytes()).await;
        assert_eq!(answer.unwrap().0, 202);
        pipeline.sink().accept(otlp()).await.unwrap();

        let spans = |trace: String, count: usize| {
            until("Zipkin has the trace", async move || {
                let found = get(at, &format!("/api/v2/trace/{trace}")).await?;
                let mut spans: Vec<Value> = serde_json::from_str(&found).unwrap();
                spans.sort_by_key(|span| span["timestamp"].as_u64());
                (spans.len() == count).then_some(Value::from(spans))
            })
        };
        assert_eq!(spans(trace.to_owned(), 2).await, sent, "{version}");
        // Both ways lead to the same span, and Zipkin keeps each report of it.
        let of_otlp = until("Zipkin has the span of OTLP", async || {
            let found = get(at, &format!("/api/v2/trace/{OTLP_TRACE:032x}")).await?;
            serde_json::from_str::<Vec<Value>>(&found).ok()?.pop()
        });
        let of_otlp = of_otlp.await;
        assert_eq!(of_otlp["id"], "0000000000000009");
        assert_eq!(of_otlp["kind"], "SERVER");
        assert_eq!(of_otlp["duration"], 900);
        assert_eq!(of_otlp["localEndpoint"]["serviceName"], "ursa");
        assert_eq!(of_otlp["tags"]["error"], "broken");
        stop_pipeline(pipeline, receiver).await;
    }
    server.kill().await.unwrap();
}

/// What the test agent looks at.
const CHECKS: &str =
    "trace_count_header,meta_tracer_version_header,trace_content_length,meta_events_is_valid_json";

async fn test_agent() -> (Child, SocketAddr) {
    let (at, http, grpc, web) = (free(), free(), free(), free());
    let port = |at: SocketAddr| at.port().to_string();
    let path = "peers/ddapm-test-agent/1.69.1/bin/ddapm-test-agent";
    let mut agent = Command::new(program("URSA_DDAPM_TEST_AGENT", path));
    agent.args(["--port", &port(at), "--web-ui-port", &port(web)]);
    agent.args(["--otlp-http-port", &port(http), "--otlp-grpc-port", &port(grpc)]);
    // Its argument for them does not work.
    let agent = start(agent.env("ENABLED_CHECKS", CHECKS), Stdio::null());
    until("the test agent is ready", async || get(at, "/info").await).await;
    (agent, at)
}

#[tokio::test]
async fn datadogs_agent_gets_its_own_form() {
    let (mut agent, at) = test_agent().await;
    let spec = json!({"datadog": {"url": format!("http://{at}")}});
    let backends = json!([{"name": "agent", "spec": spec}]);
    let (pipeline, receiver) = pipeline(Protocol::Datadog, backends).await;
    let sent = json!([[
        {"service": "shop", "name": "envoy.proxy", "resource": "GET /", "type": "web", "trace_id": 5_208_512_171_318_403_364_u64,
         "span_id": 11_744_061_942_159_299_346_u64, "parent_id": 0, "start": 1_700_000_000_000_000_001_u64, "duration": 2_000_000, "error": 0,
         "meta": {"_dd.p.tid": "463ac35c9f6413ad", "env": "prod"}, "metrics": {"_sampling_priority_v1": 2.0}},
        {"service": "shop", "name": "query", "resource": "SELECT", "type": "sql", "trace_id": 5_208_512_171_318_403_364_u64,
         "span_id": 2, "parent_id": 11_744_061_942_159_299_346_u64, "start": 1_700_000_000_000_000_002_u64, "duration": 5, "error": 1,
         "meta": {"error.message": "gone"}, "metrics": {}},
    ]]);
    let message = datadog::from_json(sent.to_string().as_bytes()).unwrap();
    let headers = [("content-type", "application/msgpack"), ("x-datadog-trace-count", "1")];
    let to = receiver.address().unwrap();
    let answer = ask(to, "PUT", "/v0.4/traces", &headers, &message).await.unwrap();
    assert_eq!(answer.0, 200, "{answer:?}");
    pipeline.sink().accept(otlp()).await.unwrap();

    let traces = until("the agent has both traces", async || {
        let traces: Vec<Value> = serde_json::from_str(&get(at, "/test/traces").await?).ok()?;
        (traces.len() == 2).then_some(traces)
    });
    let (native, other): (Vec<_>, Vec<_>) =
        traces.await.into_iter().partition(|trace| trace[0]["service"] == "shop");
    assert_eq!(Value::from(native), sent);
    let of_otlp = &other[0][0];
    assert_eq!(of_otlp["service"], "ursa");
    assert_eq!(of_otlp["resource"], "GET /otlp");
    assert_eq!(of_otlp["error"], 1);
    assert_eq!(of_otlp["trace_id"], json!(0x8448_eb21_1c80_319c_u64));
    assert_eq!(of_otlp["meta"]["_dd.p.tid"], format!("{:016x}", OTLP_TRACE >> 64));
    assert_eq!(of_otlp["meta"]["error.message"], "broken");
    let failures = ask(at, "GET", "/test/trace_check/failures", &[], b"").await.unwrap();
    assert_eq!(failures.0, 200, "{failures:?}");
    stop_pipeline(pipeline, receiver).await;
    agent.kill().await.unwrap();
}
