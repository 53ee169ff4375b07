//! A real OpenTelemetry Collector that writes what it receives into a file.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::mesh::{eventually, peer};

/// A running Collector.
#[derive(Debug)]
pub(crate) struct Collector {
    child: Child,
    files: TempDir,
    grpc: u16,
    http: u16,
    /// The same over TLS; 0 without.
    secure: (u16, u16),
}

impl Collector {
    /// Starts it and waits until it listens.
    pub(crate) async fn start() -> Self {
        Self::start_on(free(), free()).await
    }

    /// The same on these ports.
    pub(crate) async fn start_on(grpc: u16, http: u16) -> Self {
        Self::start_with(grpc, http, None).await
    }

    /// The same, over TLS too with the certificate `server` of that authority.
    pub(crate) async fn start_with(grpc: u16, http: u16, authority: Option<&Authority>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let secure = authority.map_or((0, 0), |_| (free(), free()));
        let receivers = authority.map_or_else(String::new, |authority| {
            let (certificate, key) = (authority.path("server.crt"), authority.path("server.key"));
            let tls = format!(
                "tls: {{cert_file: '{}', key_file: '{}'}}",
                certificate.display(),
                key.display()
            );
            format!(
                ", otlp/tls: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{}', {tls}}}, http: {{endpoint: '127.0.0.1:{}', {tls}}}}}}}",
                secure.0, secure.1
            )
        });
        let all = if authority.is_some() { "otlp, otlp/tls" } else { "otlp" };
        let config = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'}}, http: {{endpoint: '127.0.0.1:{http}'}}}}}}{receivers}}}\n\
             exporters: {{file/spans: {{path: '{0}/spans.json'}}, file/logs: {{path: '{0}/logs.json'}}, file/metrics: {{path: '{0}/metrics.json'}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    traces: {{receivers: [{all}], exporters: [file/spans]}}\n    \
             metrics: {{receivers: [{all}], exporters: [file/metrics]}}\n    logs: {{receivers: [{all}], exporters: [file/logs]}}\n",
            files.path().display()
        );
        std::fs::write(files.path().join("config.yaml"), config).unwrap();
        let log = std::fs::File::create(files.path().join("log")).unwrap();
        let child = Command::new(peer("URSA_OTELCOL", "peers/otelcol/0.162.0-2/otelcol"))
            .arg("--config")
            .arg(files.path().join("config.yaml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let collector = Self { child, files, grpc, http, secure };
        eventually("the Collector", async || {
            let open = |port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            (open(grpc) && open(http)).then_some(())
        })
        .await;
        collector
    }

    /// The endpoint for gRPC, as a policy names it.
    pub(crate) fn grpc(&self) -> String {
        format!("127.0.0.1:{}", self.grpc)
    }

    /// The endpoint for HTTP, as a policy names it.
    pub(crate) fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// The endpoints for gRPC and for HTTP over TLS, as a policy names them.
    pub(crate) fn secure(&self) -> (String, String) {
        let (grpc, http) = self.secure;
        (format!("localhost:{grpc}"), format!("https://localhost:{http}"))
    }

    /// All that was received, as it was written down.
    pub(crate) fn text(&self) -> String {
        let text = |file| std::fs::read_to_string(self.files.path().join(file)).unwrap_or_default();
        ["spans.json", "logs.json", "metrics.json"].map(text).concat()
    }

    /// The spans received, in order, each with its resource's attributes under `resource`.
    pub(crate) fn spans(&self) -> Vec<Value> {
        self.received("spans.json", ["resourceSpans", "scopeSpans", "spans"])
    }

    /// The log records received, likewise, each with its own attributes under `said` too.
    pub(crate) fn logs(&self) -> Vec<Value> {
        let mut logs = self.received("logs.json", ["resourceLogs", "scopeLogs", "logRecords"]);
        for log in &mut logs {
            log["said"] = serde_json::to_value(attributes(log)).unwrap();
        }
        logs
    }

    fn received(&self, file: &str, [resources, scopes, items]: [&str; 3]) -> Vec<Value> {
        let text = std::fs::read_to_string(self.files.path().join(file)).unwrap_or_default();
        let mut received = Vec::new();
        // The last line may be half written.
        for request in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            for resource in list(&request[resources]) {
                for item in list(&resource[scopes]).flat_map(|scope| list(&scope[items])) {
                    let mut item = item.clone();
                    item["resource"] =
                        serde_json::to_value(attributes(&resource["resource"])).unwrap();
                    received.push(item);
                }
            }
        }
        received
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that nobody listens on.
pub(crate) fn free() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The string attributes of a span or a resource.
fn attributes(of: &Value) -> BTreeMap<String, String> {
    list(&of["attributes"])
        .filter_map(|attribute| {
            let value = attribute["value"]["stringValue"].as_str()?;
            Some((attribute["key"].as_str()?.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Asserts of the spans of `GET /` at the gateway that began after `since`: the traces that are whole have five spans
/// in one chain, gateway server → gateway client → frontend server → frontend client → catalog server, with tags and
/// resource.
pub(crate) fn assert_whole_traces(spans: &[Value], since: Timestamp) {
    let mut traces: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    let began = |span: &Value| {
        span["startTimeUnixNano"].as_str().and_then(|nanos| nanos.parse::<i128>().ok())
    };
    for span in spans.iter().filter(|span| began(span) > Some(since.as_nanosecond())) {
        traces.entry(span["traceId"].as_str().unwrap()).or_default().push(span);
    }
    let chain = [("gateway", 2), ("gateway", 3), ("frontend", 2), ("frontend", 3), ("catalog", 2)];
    let mut whole = 0;
    for trace in traces.values().filter(|trace| trace.len() == chain.len()) {
        let mut parent = String::new();
        for (service, kind) in chain {
            let span = trace
                .iter()
                .find(|span| span["parentSpanId"].as_str().unwrap_or_default() == parent)
                .unwrap_or_else(|| panic!("no child of {parent:?} in {trace:#?}"));
            assert_eq!(
                (&span["resource"]["service.name"], &span["kind"]),
                (&service.into(), &kind.into()),
                "{span:#}"
            );
            assert_eq!(span["resource"]["kuma.mesh"], "default");
            assert_eq!(span["resource"]["deployment.environment.name"], "test");
            let tags = attributes(span);
            assert_eq!(
                (tags["edition"].as_str(), tags["agent"].as_str()),
                ("third", "none"),
                "{span:#}"
            );
            parent = span["spanId"].as_str().unwrap().to_owned();
        }
        whole += 1;
    }
    assert!(whole >= 5, "only {whole} whole traces among {}", traces.len());
}
