//! The programs that are compared, each set up to do the same work.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use super::process::{Process, free};
use super::{Compression, Wire};
use crate::peers::Peer;

/// What is added to every resource.
const RESOURCE: [(&str, &str); 3] = [
    ("deployment.environment.name", "production"),
    ("k8s.cluster.name", "eu-central-1"),
    ("service.namespace", "shop"),
];
/// Bytes that Ursa's queue may hold: those of 10 minutes of 5,000 spans a second, twice.
const QUEUE: &str = "4Gi";

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    /// `ursa gateway`
    Ursa,
    /// The OpenTelemetry Collector; what it keeps on disk is there for sure before it acknowledges
    Collector,
    /// The same as it comes: what it keeps is left to the system to write
    CollectorUnsynced,
    /// rotel
    Rotel,
}

/// What is asked of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// How it speaks to the backend.
    pub(crate) output: Wire,
    /// What it sends is compressed.
    pub(crate) compression: Compression,
    /// It adds resource attributes; Ursa also renames after the semantic conventions.
    pub(crate) edits: bool,
    /// It keeps what it acknowledged on disk.
    pub(crate) disk: bool,
}

/// Where the programs are: Ursa's as given, the others' as tests have them.
#[derive(Debug)]
pub(crate) struct Programs {
    /// `ursa`
    pub(crate) ursa: PathBuf,
}

/// A program that is set up.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its process.
    pub(crate) process: Process,
    grpc: SocketAddr,
    http: SocketAddr,
    /// Where Ursa tells of itself.
    pub(crate) status: SocketAddr,
}

impl Running {
    /// Where it takes OTLP.
    pub(crate) fn address(&self, wire: Wire) -> SocketAddr {
        match wire {
            Wire::Grpc => self.grpc,
            Wire::Http => self.http,
        }
    }
}

impl Program {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ursa => "ursa",
            Self::Collector => "collector",
            Self::CollectorUnsynced => "collector, no fsync",
            Self::Rotel => "rotel",
        }
    }
}

impl Programs {
    /// Starts one, set up as asked, before a backend.
    pub(crate) async fn start(
        &self,
        program: Program,
        setup: Setup,
        backend: SocketAddr,
    ) -> anyhow::Result<Running> {
        let (grpc, http, status) = (free()?, free()?, free()?);
        let command = |files: &Path| match program {
            Program::Ursa => {
                let config = ursa(setup, backend, grpc, http, status);
                let config = written(files, &config)?;
                let mut command = Command::new(&self.ursa);
                command.args(["gateway", "--log-level", "warn", "-f"]).arg(config);
                Ok(command)
            }
            Program::Collector | Program::CollectorUnsynced => {
                let fsync = program == Program::Collector;
                let config = written(files, &collector(setup, backend, grpc, http, fsync))?;
                let mut command = Command::new(Peer::Otelcol.provide()?);
                command.arg("--config").arg(config);
                Ok(command)
            }
            Program::Rotel => {
                let mut command = Command::new(Peer::Rotel.provide()?);
                command.arg("start").args(rotel(setup, backend, grpc, http));
                Ok(command)
            }
        };
        let process = Process::start(command, &[grpc, http]).await?;
        Ok(Running { process, grpc, http, status })
    }
}

/// JSON is YAML, too.
fn written(files: &Path, config: &Value) -> anyhow::Result<PathBuf> {
    let path = files.join("config.yaml");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

fn endpoint(setup: Setup, backend: SocketAddr) -> String {
    match setup.output {
        Wire::Grpc => backend.to_string(),
        Wire::Http => format!("http://{backend}"),
    }
}

fn ursa(
    setup: Setup,
    backend: SocketAddr,
    grpc: SocketAddr,
    http: SocketAddr,
    status: SocketAddr,
) -> Value {
    let processors = if setup.edits {
        let attributes: serde_json::Map<String, Value> =
            RESOURCE.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        json!([{"resourceAttributes": {"set": attributes}}, {"semanticConventions": {}}])
    } else {
        json!([])
    };
    json!({
        "storage": if setup.disk { "./queue" } else { "memory" },
        "status": status.to_string(),
        "receivers": [
            {"otlpGrpc": {"listen": grpc.to_string()}},
            {"otlpHttp": {"listen": http.to_string()}},
        ],
        "processors": processors,
        "exporters": [{"name": "backend", "openTelemetry": {
            "endpoint": endpoint(setup, backend),
            "compression": setup.compression.name(),
            "circuitBreaker": {"openFor": "2s"},
            "queue": if setup.disk { json!({"size": QUEUE}) } else { json!({}) },
        }}],
    })
}

/// Its own batching where what is acknowledged is not kept; where it is, each request is stored as it comes, since its
/// batching would acknowledge what lies in memory only.
fn collector(
    setup: Setup,
    backend: SocketAddr,
    grpc: SocketAddr,
    http: SocketAddr,
    fsync: bool,
) -> Value {
    let attributes: Vec<Value> = RESOURCE
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value, "action": "upsert"}))
        .collect();
    let mut queue = json!({"block_on_overflow": true});
    let mut processors = Vec::new();
    if setup.edits {
        processors.push("resource");
    }
    if setup.disk {
        queue =
            json!({"block_on_overflow": true, "queue_size": 1_000_000, "storage": "file_storage"});
    } else {
        processors.push("batch");
    }
    let exporter = match setup.output {
        Wire::Grpc => "otlp",
        Wire::Http => "otlphttp",
    };
    json!({
        "receivers": {"otlp": {"protocols": {
            "grpc": {"endpoint": grpc.to_string()},
            "http": {"endpoint": http.to_string()},
        }}},
        "processors": {"batch": {}, "resource": {"attributes": attributes}},
        "exporters": {exporter: {
            "endpoint": endpoint(setup, backend),
            "compression": setup.compression.name(),
            "tls": {"insecure": true},
            "retry_on_failure": {"initial_interval": "1s", "max_interval": "2s", "max_elapsed_time": "0s"},
            "sending_queue": queue,
        }},
        "extensions": {"file_storage": {"directory": "queue", "create_directory": true, "fsync": fsync}},
        "service": {
            "extensions": if setup.disk { vec!["file_storage"] } else { Vec::new() },
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": {
                "receivers": ["otlp"], "processors": processors, "exporters": [exporter],
            }},
        },
    })
}

/// It compresses by gzip, whatever it is told.
fn rotel(setup: Setup, backend: SocketAddr, grpc: SocketAddr, http: SocketAddr) -> Vec<String> {
    let mut arguments = vec![
        format!("--otlp-grpc-endpoint={grpc}"),
        format!("--otlp-http-endpoint={http}"),
        "--exporter=otlp".to_owned(),
        format!("--otlp-exporter-endpoint=http://{backend}"),
        format!("--otlp-exporter-protocol={}", setup.output.name()),
        format!("--otlp-exporter-compression={}", setup.compression.name()),
    ];
    if setup.edits {
        let pairs: Vec<String> =
            RESOURCE.iter().map(|(key, value)| format!("{key}={value}")).collect();
        arguments.push(format!("--otel-resource-attributes={}", pairs.join(",")));
    }
    arguments
}
