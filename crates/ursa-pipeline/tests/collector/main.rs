//! To and from a real OpenTelemetry Collector: every span compared.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod probes;
mod rotation;
#[path = "../peers/start.rs"]
mod start;
mod ways;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use prost::Message;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Protocol, Settings};
use ursa_pipeline::{Pipeline, PipelineInputs, Received, Refusal, Signal, Sink};

use crate::start::{free, program};

const PATIENCE: Duration = Duration::from_secs(30);
const REQUESTS: usize = 200;
const SPANS: usize = 10;

/// What came back.
#[derive(Debug, Default)]
struct Shelf(Mutex<Vec<ResourceSpans>>);

#[async_trait]
impl Sink for Shelf {
    async fn accept(&self, Received { request, .. }: Received) -> Result<(), Refusal> {
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        self.0.lock().unwrap().extend(request.resource_spans);
        Ok(())
    }
}

async fn start(config: &serde_json::Value, folder: &Path, ports: &[SocketAddr]) -> Child {
    let path = folder.join("collector.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    let log = std::fs::File::create(folder.join("collector.log")).unwrap();
    let mut collector = Command::new(program("URSA_OTELCOL", "peers/otelcol/0.162.0-2/otelcol"));
    let mut collector = start::start(collector.arg("--config").arg(&path), log);
    let deadline = Instant::now() + PATIENCE;
    for port in ports {
        while TcpStream::connect(port).await.is_err() {
            let log = || std::fs::read_to_string(folder.join("collector.log")).unwrap();
            assert!(collector.try_wait().unwrap().is_none(), "it ended: {}", log());
            assert!(Instant::now() < deadline, "it does not listen: {}", log());
            sleep(Duration::from_millis(50)).await;
        }
    }
    collector
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn request(number: usize) -> ResourceSpans {
    let span = |at: usize| Span {
        trace_id: (number as u128 + 1).to_be_bytes().into(),
        span_id: (at as u64 + 1).to_be_bytes().into(),
        name: format!("{number:03}-{at}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + number as u64,
        end_time_unix_nano: 1_700_000_000_000_900_000 + number as u64,
        attributes: vec![attribute("url.path", "/süß"), attribute("n", &number.to_string())],
        status: Some(Status::default()),
        ..Span::default()
    };
    let scope = Some(InstrumentationScope { name: "envoy".into(), ..Default::default() });
    let spans = (0..SPANS).map(span).collect();
    let attributes = vec![attribute("service.name", "envoy"), attribute("kept", "yes")];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }],
        schema_url: "https://opentelemetry.io/schemas/1.30.0".into(),
    }
}

/// Gives the pipeline a request.
async fn push(sink: &Arc<dyn Sink>, number: usize) {
    let request = ExportTraceServiceRequest { resource_spans: vec![request(number)] };
    let bytes = request.encode_to_vec().into();
    sink.accept(Received::otlp(Signal::Traces, bytes, SPANS, &"test".into())).await.unwrap();
}

fn pipeline(environment: &[(&str, &str)], registry: &Registry) -> Pipeline {
    let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = environment.iter().map(variable).collect();
    Pipeline::start(PipelineInputs {
        environment,
        detected: BTreeMap::new(),
        registry: registry.clone(),
        storage: None,
    })
}

/// By the first span's name, resource attributes in the order of their keys.
fn sorted(mut spans: Vec<ResourceSpans>) -> BTreeMap<String, ResourceSpans> {
    for spans in &mut spans {
        let attributes = &mut spans.resource.get_or_insert_default().attributes;
        attributes.sort_by(|one, other| one.key.cmp(&other.key));
    }
    spans.into_iter().map(|spans| (spans.scope_spans[0].spans[0].name.clone(), spans)).collect()
}

fn in_file(path: &Path) -> Vec<ResourceSpans> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<TracesData>(line).ok());
    lines.flat_map(|data| data.resource_spans).collect()
}

#[tokio::test]
async fn every_span_goes_through_a_collector_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(&[]);
    let (by_grpc, by_http) = (Arc::new(Shelf::default()), Arc::new(Shelf::default()));
    let any = || Bind::Tcp(([127, 0, 0, 1], 0).into());
    let sink = Arc::clone(&by_grpc) as Arc<dyn Sink>;
    let grpc_back = Settings::new(Protocol::OtlpGrpc, any()).start(sink, &registry).await.unwrap();
    let sink = Arc::clone(&by_http) as Arc<dyn Sink>;
    let http_back = Settings::new(Protocol::OtlpHttp, any()).start(sink, &registry).await.unwrap();
    let (grpc, http) = (free(), free());
    let (grpc_file, http_file) = (folder.path().join("grpc"), folder.path().join("http"));
    let config = json!({
        "receivers": {
            "otlp/grpc": {"protocols": {"grpc": {"endpoint": grpc}}},
            "otlp/http": {"protocols": {"http": {"endpoint": http}}},
        },
        "exporters": {
            "file/grpc": {"path": grpc_file, "flush_interval": "100ms"},
            "file/http": {"path": http_file, "flush_interval": "100ms"},
            "otlp": {"endpoint": grpc_back.address(), "tls": {"insecure": true}},
            "otlphttp": {"endpoint": format!("http://{}", http_back.address().unwrap())},
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces/grpc": {"receivers": ["otlp/grpc"], "exporters": ["file/grpc", "otlp"]},
                "traces/http": {"receivers": ["otlp/http"], "exporters": ["file/http", "otlphttp"]},
            },
        },
    });
    let mut collector = start(&config, folder.path(), &[grpc, http]).await;

    let pipeline = pipeline(&[], &registry);
    let task = json!({
        "resource": {"service.name": "shop", "host.name": "node", "os.type": "linux"},
        "traces": {"backends": [
            {"name": "grpc", "spec": {"openTelemetry": {"endpoint": grpc, "compression": "gzip"}}},
            {"name": "http", "spec": {"openTelemetry": {"endpoint": format!("http://{http}"), "compression": "gzip"}}},
            {"name": "grpc, plain", "spec": {"openTelemetry": {"endpoint": grpc}}},
            {"name": "http, plain", "spec": {"openTelemetry": {"endpoint": format!("http://{http}")}}},
        ]},
    });
    pipeline.reconfigure(serde_json::from_value(task).unwrap(), &BTreeMap::new()).await;
    let sink = pipeline.sink();
    for number in 0..REQUESTS {
        push(&sink, number).await;
    }

    // Each arrives twice: compressed and plain.
    let arrived = || {
        let files = [in_file(&grpc_file).len(), in_file(&http_file).len()];
        let back = [by_grpc.0.lock().unwrap().len(), by_http.0.lock().unwrap().len()];
        [files, back].concat()
    };
    let deadline = Instant::now() + PATIENCE;
    while arrived() != [2 * REQUESTS; 4] {
        let status = pipeline.status().await;
        assert!(Instant::now() < deadline, "{:?} {status:#?}", arrived());
        sleep(Duration::from_millis(50)).await;
    }
    // What is told, and what is detected of the machine.
    let mut known = pipeline.status().await.resource_attributes;
    assert_eq!(known["host.name"], "node");
    known.insert("kept".to_owned(), "yes".to_owned());
    let expected = (0..REQUESTS).map(|number| {
        let mut spans = request(number);
        let resource = spans.resource.as_mut().unwrap();
        resource.attributes = known.iter().map(|(key, value)| attribute(key, value)).collect();
        spans
    });
    let expected = sorted(expected.collect());
    let take = |shelf: &Shelf| std::mem::take(&mut *shelf.0.lock().unwrap());
    for arrived in [in_file(&grpc_file), in_file(&http_file), take(&by_grpc), take(&by_http)] {
        let arrived = sorted(arrived);
        let first = (arrived.first_key_value(), expected.first_key_value());
        assert!(arrived == expected, "{first:#?}");
    }
    // What arrived may be counted a little later: once the Collector's answer is back.
    let counted = async || {
        let backends = pipeline.status().await.backends;
        backends.iter().all(|backend| backend.sent_items == (REQUESTS * SPANS) as u64)
    };
    while !counted().await {
        assert!(Instant::now() < deadline, "{:#?}", pipeline.status().await);
        sleep(Duration::from_millis(50)).await;
    }
    for backend in pipeline.status().await.backends {
        assert_eq!(backend.last_error, None, "{backend:?}");
    }
    assert_eq!(pipeline.shutdown(PATIENCE).await, 0);
    collector.kill().await.unwrap();
    grpc_back.shutdown(PATIENCE).await;
    http_back.shutdown(PATIENCE).await;
}
