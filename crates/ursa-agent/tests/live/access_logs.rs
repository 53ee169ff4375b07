//! Access logs of a real Envoy: its own files, records to OTLP backends, lines to a TCP sink that is away at first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use ursa_envoy::proxy::{AccessLog, LogFilter, LogFormat, LogSink, LogValue};
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Protocol, Receiver, Settings};
use ursa_pipeline::{Received, Refusal, Signal, Sink};

use crate::world::{World, eventually, free_port, get, resources};

/// Keeps log records as JSON.
#[derive(Debug)]
struct Logs(mpsc::Sender<Json>);

#[async_trait::async_trait]
impl Sink for Logs {
    fn takes(&self, signal: Signal) -> bool {
        signal == Signal::Logs
    }

    async fn accept(&self, Received { request, .. }: Received) -> Result<(), Refusal> {
        let text = ursa_otlp::json::from_protobuf(Signal::Logs, &request).unwrap();
        self.0.try_send(serde_json::from_str(&text).unwrap()).unwrap();
        Ok(())
    }
}

struct Backend {
    receiver: Receiver,
    requests: mpsc::Receiver<Json>,
}

impl Backend {
    async fn start() -> Self {
        let (sender, requests) = mpsc::channel(1_024);
        let bind = Bind::Tcp("127.0.0.1:0".parse().unwrap());
        let settings = Settings::new(Protocol::OtlpGrpc, bind);
        let receiver = settings.start(Arc::new(Logs(sender)), &Registry::new(&[])).await.unwrap();
        Self { receiver, requests }
    }

    fn address(&self) -> String {
        self.receiver.address().unwrap().to_string()
    }

    /// Waits for so many records, each with its resource's attributes.
    async fn records(&mut self, count: usize) -> Vec<(Json, Json)> {
        let mut records = Vec::new();
        while records.len() < count {
            let request = timeout(Duration::from_secs(10), self.requests.recv()).await;
            let request = request.unwrap_or_else(|_| panic!("only {} records", records.len()));
            for group in request.unwrap()["resourceLogs"].as_array().unwrap() {
                for scope in group["scopeLogs"].as_array().unwrap() {
                    let all = scope["logRecords"].as_array().unwrap().iter();
                    records.extend(all.map(|one| (group["resource"].clone(), one.clone())));
                }
            }
        }
        records
    }
}

fn attributes(of: &Json) -> BTreeMap<&str, &Json> {
    let all = of["attributes"].as_array().into_iter().flatten();
    all.map(|one| (one["key"].as_str().unwrap(), &one["value"])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_backend_has_its_records_and_no_line_is_lost() {
    const REQUESTS: usize = 200;
    let world = World::start().await;
    let (mut all, mut some) = (Backend::start().await, Backend::start().await);
    let sink = free_port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let otlp = |backend: &Backend, name: &str| {
        json!({
            "backends": [{"name": name, "spec": {"openTelemetry": {"endpoint": backend.address()}}}],
            "resourceAttributes": {"kept.for": name},
            "accessLog": {"integers": ["http.response.status_code"], "optional": ["user_agent.original"]},
        })
    };
    let retry = json!({"initialBackoff": "50ms", "maxBackoff": "200ms"});
    let lines = json!({"backends": [{"name": "lines", "spec": {
        "tcp": {"address": format!("127.0.0.1:{sink}"), "retryPolicy": retry},
    }}]});
    let channels = json!({"a+0": otlp(&all, "all"), "a+1": otlp(&some, "some"), "a+2": lines});
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let record = |channel: &str| LogSink::Agent {
        channel: channel.to_owned(),
        body: Some(LogValue::Map(vec![(
            "path".to_owned(),
            LogValue::Text("%REQ(:PATH)%".to_owned()),
        )])),
        attributes: vec![
            pair("http.response.status_code", "%RESPONSE_CODE%"),
            pair("user_agent.original", "%REQ(USER-AGENT)%"),
            pair("trace", "%TRACE_ID%"),
            pair("ursa.outcome", "%RESPONSE_CODE% %RESPONSE_FLAGS%"),
        ],
    };
    let expression = Some("request.path.startsWith('/some')".to_owned());
    let logs = [
        (record("a+0"), LogFilter::default()),
        (record("a+1"), LogFilter { expression, ..LogFilter::default() }),
        (
            LogSink::Agent {
                channel: "a+2".to_owned(),
                body: Some(LogValue::Text("%REQ(:PATH)% %RESPONSE_CODE%".to_owned())),
                attributes: Vec::new(),
            },
            LogFilter::default(),
        ),
        (
            LogSink::File {
                path: file.display().to_string(),
                format: LogFormat::Json {
                    fields: vec![pair("code", "%RESPONSE_CODE%"), pair("path", "%REQ(:PATH)%")],
                    omit_empty: false,
                },
            },
            LogFilter { status_from: Some(200), status_to: Some(299), ..LogFilter::default() },
        ),
    ];
    world.control_plane.set(resources(&world.proxy(|proxy| {
        proxy.pipeline.channels = serde_json::from_value(channels).unwrap();
        proxy.listeners[0].access_logs =
            logs.into_iter().map(|(sink, filter)| AccessLog { sink, filter }).collect();
    })));
    let running = world.agent().await;
    running.ready().await;
    world.control_plane.logged("ack Pipeline").await;

    let path = |number: usize| {
        format!("/{}/{number}", if number.is_multiple_of(10) { "some" } else { "other" })
    };
    for number in 0..REQUESTS {
        assert_eq!(get(world.port, &path(number)).await.unwrap().0, 200);
    }

    let records = all.records(REQUESTS).await;
    assert_eq!(records.len(), REQUESTS);
    for (number, (resource, record)) in records.iter().enumerate() {
        assert_eq!(record["severityText"], "INFO", "{record}");
        assert_eq!(
            record["body"]["kvlistValue"]["values"][0]["value"]["stringValue"],
            path(number)
        );
        let own = attributes(record);
        let keys: Vec<_> = own.keys().copied().collect();
        assert_eq!(keys, ["http.response.status_code", "trace"], "{record}");
        assert_eq!(own["http.response.status_code"]["intValue"], "200");
        assert_eq!(own["trace"]["stringValue"], record["traceId"], "{record}");
        assert_eq!(record["traceId"].as_str().map(str::len), Some(32), "{record}");
        assert_eq!(record["spanId"].as_str().map(str::len), Some(16), "{record}");
        let resource = attributes(resource);
        assert_eq!(resource["kept.for"]["stringValue"], "all");
        assert_eq!(resource["log_name"]["stringValue"], "MeshAccessLog");
        assert!(!resource.contains_key("node_name"), "{resource:?}");
    }
    let filtered = some.records(REQUESTS / 10).await;
    assert_eq!(filtered.len(), REQUESTS / 10);
    assert!(filtered.iter().all(|(of, _)| attributes(of)["kept.for"]["stringValue"] == "some"));

    // The sink has been away so far.
    let lines = lines_of(sink, REQUESTS).await;
    for number in 0..REQUESTS {
        let line = format!("{} 200", path(number));
        assert!(lines.contains(&line), "{line} is lost");
    }
    let written = eventually("the file is written", Duration::from_secs(15), async || {
        let text = std::fs::read_to_string(&file).ok()?;
        (text.lines().count() == REQUESTS).then_some(text)
    })
    .await;
    let first: Json = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"code": 200, "path": path(0)}));
    running.shutdown().await;
}

/// Listens there and takes lines until there are so many.
async fn lines_of(port: u16, count: usize) -> Vec<String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (told, mut hear) = mpsc::channel(64);
    let mut connections = JoinSet::new();
    let mut lines = Vec::new();
    let taking = async {
        while lines.len() < count {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    let told = told.clone();
                    connections.spawn(async move {
                        let mut lines = BufReader::new(stream).lines();
                        while let Some(line) = lines.next_line().await.unwrap() {
                            told.send(line).await.unwrap();
                        }
                    });
                }
                line = hear.recv() => lines.extend(line),
            }
        }
    };
    timeout(Duration::from_mins(1), taking).await.unwrap();
    lines
}
