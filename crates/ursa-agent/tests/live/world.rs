//! What a proxy needs around it: a control plane, an application, an OTLP backend.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use ursa_agent::upstream::TokenSource;
use ursa_agent::{Agent, Config, Running, binary};
use ursa_envoy::abilities::Abilities;
use ursa_envoy::proxy::{
    Cluster, ClusterKind, Direction, HttpListener, Listener, ListenerKind, ListenerTls,
    ProxyConfig, Route, RouteConfig, RouteTracing, Sampling, Tracer, Tracing,
};
use ursa_envoy::resources::Resources;
pub(crate) use ursa_envoy::resources::resources;
use ursa_metrics::Registry;
use ursa_model::ProxyId;
use ursa_pipeline::receive::{Bind, Protocol, Receiver, Settings};
use ursa_pipeline::{Received, Refusal, Sink};

use crate::control_plane::ControlPlane;

/// Waits for something to be there.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The real Envoy.
pub(crate) fn envoy() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let home = variable("HOME").unwrap_or_default();
    let cache = variable("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("ursa");
    let search =
        binary::Search { explicit: None, configured: variable("URSA_ENVOY"), path: None, cache };
    let found = binary::find(&search).unwrap();
    found.expect("Envoy is wanted: set URSA_ENVOY, or run `cargo xtask peers`")
}

/// The example `agent`, built beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/agent");
    let missing = "run all of `cargo test -p ursa-agent`, which builds the example";
    assert!(program.is_file(), "{missing} {}", program.display());
    program
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One GET over a connection of its own.
pub(crate) async fn get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await??;
    let malformed = || std::io::Error::other(format!("not an answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(malformed)?, body.to_owned()))
}

/// Memory of a process, as the system puts it: resident, and of that its own.
pub(crate) fn memory(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("RssAnon"));
    lines.map(|line| line.replace('\t', " ")).collect::<Vec<_>>().join(", ")
}

/// Whether a process has ended, its parent having looked or not.
pub(crate) fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| stat.contains(") Z ")) || !PathBuf::from(format!("/proc/{pid}")).exists()
}

/// A span as the backend got it.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) resource: BTreeMap<String, String>,
}

pub(crate) struct World {
    pub(crate) id: ProxyId,
    pub(crate) control_plane: ControlPlane,
    /// What the control plane says at first.
    pub(crate) truth: Resources,
    /// Where the proxy listens.
    pub(crate) port: u16,
    app: u16,
    backend: Receiver,
    requests: mpsc::Receiver<ExportTraceServiceRequest>,
    slow: mpsc::Receiver<()>,
    /// What an agent in this process finds in its environment.
    pub(crate) environment: BTreeMap<String, String>,
    dir: TempDir,
    _tasks: JoinSet<()>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let mut tasks = JoinSet::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = listener.local_addr().unwrap().port();
        let (began, slow) = mpsc::channel(16);
        tasks.spawn(application(listener, began));
        let (sender, requests) = mpsc::channel(1024);
        let backend = Settings::new(Protocol::OtlpGrpc, Bind::Tcp("127.0.0.1:0".parse().unwrap()));
        let backend = backend.start(Arc::new(Backend(sender)), &Registry::new(&[])).await.unwrap();
        let mut world = Self {
            id: ProxyId::new("default", "web-1"),
            control_plane: ControlPlane::start().await,
            truth: Resources::new(),
            port: free_port(),
            app,
            backend,
            requests,
            slow,
            environment: BTreeMap::new(),
            dir: tempfile::tempdir().unwrap(),
            _tasks: tasks,
        };
        world.truth = resources(&world.proxy(|_| ()));
        world.control_plane.set(world.truth.clone());
        let token = world.control_plane.token(&world.id);
        std::fs::write(world.token_file(), token.expose()).unwrap();
        world
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The proxy: one inbound, whose every request is traced; changed as a test wants it.
    pub(crate) fn proxy(&self, change: impl FnOnce(&mut ProxyConfig)) -> ProxyConfig {
        let route = Route {
            tracing: RouteTracing { sampling: Sampling::ALL, tags: Vec::new() },
            ..Route::to("app")
        };
        let routes = RouteConfig { name: "inbound".to_owned(), routes: vec![route] };
        let http = HttpListener {
            tracing: Some(Tracing { service_name: "web".to_owned(), tracer: Tracer::default() }),
            ..HttpListener::new("inbound", Direction::Inbound, routes)
        };
        let listener = Listener {
            name: "inbound".to_owned(),
            direction: Direction::Inbound,
            address: "127.0.0.1".to_owned(),
            port: self.port,
            destination: "web".to_owned(),
            inbound: None,
            kind: ListenerKind::Http(http),
            tls: ListenerTls::Off,
            permissions: None,
            access_logs: Vec::new(),
        };
        let app = ClusterKind::Local { address: "127.0.0.1".to_owned(), port: self.app };
        let endpoint = self.backend.address().unwrap().to_string();
        let pipeline = json!({
            "facts": {"mesh": self.id.mesh, "name": self.id.name},
            "traces": {
                "backends": [{"name": "test", "spec": {"openTelemetry": {"endpoint": endpoint}}}],
                "resourceAttributes": {"deployment.environment.name": "test"},
            },
        });
        let mut proxy = ProxyConfig {
            id: self.id.clone(),
            service: "web".to_owned(),
            address: "127.0.0.1".to_owned(),
            mesh_tls: None,
            abilities: Abilities::default(),
            listeners: vec![listener],
            clusters: vec![Cluster::new("app", "app", app, ursa_model::dataplane::Protocol::Http)],
            pipeline: serde_json::from_value(pipeline).unwrap(),
        };
        change(&mut proxy);
        proxy
    }

    /// An agent in this process.
    pub(crate) async fn agent(&self) -> Running {
        let config = Config {
            id: self.id.clone(),
            zone: None,
            control_plane: self.control_plane.url(),
            token: TokenSource::File(self.token_file()),
            envoy: envoy(),
            concurrency: 1,
            envoy_log_level: "warning".to_owned(),
            module: true,
            work_dir: self.work_dir(),
            data_dir: Some(self.work_dir().with_extension("data")),
            status: "127.0.0.1:0".parse().unwrap(),
            shim: program(),
            environment: self.environment.clone(),
            drain: Duration::from_secs(5),
            listener_drain: Duration::from_secs(5),
        };
        Agent::start(config).await.unwrap()
    }

    /// An agent as a process of its own.
    pub(crate) fn agent_process(&self) -> Child {
        let mut command = Command::new(program());
        command.arg(self.work_dir()).arg(self.control_plane.url().as_str());
        command.arg(self.token_file()).args([&self.id.mesh, &self.id.name]).arg(envoy());
        command.kill_on_drop(true).spawn().unwrap()
    }

    /// The Envoy that an agent's process has started.
    pub(crate) fn envoy_of(agent: u32) -> u32 {
        let threads = std::fs::read_dir(format!("/proc/{agent}/task")).unwrap().flatten();
        let children = threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> = children
            .flat_map(|text| {
                text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(children.len(), 1, "one Envoy");
        children[0]
    }

    /// One request passes through the proxy.
    pub(crate) async fn passes(&self) {
        assert_eq!(get(self.port, "/").await.unwrap(), (200, "hello".to_owned()));
    }

    /// Waits until a request to `/slow` has reached the application.
    pub(crate) async fn slow_began(&mut self) {
        timeout(Duration::from_secs(10), self.slow.recv()).await.unwrap().unwrap();
    }

    /// Waits for at least so many spans.
    pub(crate) async fn spans(&mut self, count: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < count {
            let request = timeout(Duration::from_secs(10), self.requests.recv()).await;
            let request = request.unwrap_or_else(|_| panic!("only {} spans", spans.len())).unwrap();
            spans.extend(spans_of(request));
        }
        spans
    }

    /// Drops the spans that have come, and says how many there were.
    pub(crate) fn forget_spans(&mut self) -> usize {
        let mut count = 0;
        while let Ok(request) = self.requests.try_recv() {
            count += spans_of(request).len();
        }
        count
    }

    /// What an agent says at `/status`.
    pub(crate) async fn status(&self, running: &Running) -> serde_json::Value {
        let (status, body) = get(running.status_address().port(), "/status").await.unwrap();
        assert_eq!(status, 200);
        serde_json::from_str(&body).unwrap()
    }

    /// What an agent says at `/metrics`.
    pub(crate) async fn metrics(&self, running: &Running) -> String {
        get(running.status_address().port(), "/metrics").await.unwrap().1
    }
}

fn spans_of(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let attributes = of_resource.resource.unwrap_or_default().attributes;
        let resource: BTreeMap<String, String> = attributes
            .into_iter()
            .filter_map(|attribute| match attribute.value?.value? {
                Value::StringValue(text) => Some((attribute.key, text)),
                _ => None,
            })
            .collect();
        let count = of_resource.scope_spans.iter().map(|scope| scope.spans.len()).sum();
        spans.extend((0..count).map(|_| Span { resource: resource.clone() }));
    }
    spans
}

/// Answers `hello`; to `/slow` after a while.
async fn application(listener: TcpListener, began: mpsc::Sender<()>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let began = began.clone();
        connections.spawn(async move {
            let mut head = Vec::new();
            loop {
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => head.extend_from_slice(&buffer[..count]),
                }
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                if head.starts_with(b"GET /slow") {
                    began.send(()).await.unwrap();
                    sleep(Duration::from_millis(500)).await;
                }
                head.clear();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Keeps what it receives.
#[derive(Debug)]
struct Backend(mpsc::Sender<ExportTraceServiceRequest>);

#[async_trait::async_trait]
impl Sink for Backend {
    async fn accept(&self, Received { request, .. }: Received) -> Result<(), Refusal> {
        let request = ExportTraceServiceRequest::decode(request).unwrap();
        self.0.try_send(request).unwrap();
        Ok(())
    }
}
