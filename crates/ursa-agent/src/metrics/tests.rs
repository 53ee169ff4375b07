//! Metrics of an Envoy and of applications that are this test's own, over real sockets.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::Request;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use prost::Message;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use ursa_metrics::Registry;
use ursa_pipeline::{Received, Refusal, Signal};
use ursa_series::KEEP;

use super::*;
use crate::admin::Admin;
use crate::own_metrics::OwnMetrics;
use crate::process::EnvoyStatus;

/// What takes requests; `no_room_for` so many it has none.
#[derive(Debug, Default)]
struct Took {
    requests: Mutex<VecDeque<ExportMetricsServiceRequest>>,
    no_room_for: AtomicU64,
    refused: AtomicU64,
}

#[async_trait]
impl Pipeline for Took {
    fn takes(&self, signal: Signal) -> bool {
        signal == Signal::Metrics
    }

    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        let less = |left: u64| left.checked_sub(1);
        if self.no_room_for.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Full { retry_after: Duration::ZERO });
        }
        let request = ExportMetricsServiceRequest::decode(received.request).unwrap();
        let mut requests = self.requests.lock().unwrap();
        requests.push_back(request);
        // The last ones are enough to look at.
        while requests.len() > 1_000 {
            requests.pop_front();
        }
        Ok(())
    }
}

impl Took {
    /// The sum of all deltas of a counter.
    fn sum(&self, counter: &str) -> f64 {
        let requests = self.requests.lock().unwrap();
        let metrics = requests
            .iter()
            .flat_map(|request| &request.resource_metrics)
            .flat_map(|resource| &resource.scope_metrics)
            .flat_map(|scope| &scope.metrics)
            .filter(|metric| metric.name == counter);
        let points = metrics.flat_map(|metric| match &metric.data {
            Some(Data::Sum(sum)) => sum.data_points.as_slice(),
            _ => &[],
        });
        let value = |value: &Option<Value>| match value {
            Some(Value::AsDouble(value)) => *value,
            Some(Value::AsInt(value)) => *value as f64,
            None => 0.0,
        };
        points.map(|point| value(&point.value)).sum()
    }
}

/// Answers one request with what `say` makes of its path.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, say: impl Fn(&str) -> String) {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let said = say(request.split(' ').nth(1).unwrap());
    let length = said.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    drop(stream.write_all((head + &said).as_bytes()).await);
}

struct World {
    metrics: Metrics,
    registry: Registry,
    took: Arc<Took>,
    /// Of all applications.
    port: u16,
    /// What Envoy counted.
    counted: Arc<AtomicU64>,
    _servers: JoinSet<()>,
    _dir: tempfile::TempDir,
    _envoy: watch::Sender<EnvoyStatus>,
}

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let admin = Admin { socket: dir.path().join("admin.sock") };
        let mut servers = JoinSet::new();
        let counted = Arc::new(AtomicU64::new(1));
        let (envoy, statistics) =
            (UnixListener::bind(&admin.socket).unwrap(), Arc::clone(&counted));
        servers.spawn(async move {
            loop {
                let (stream, _) = envoy.accept().await.unwrap();
                let counted = statistics.load(Ordering::Relaxed);
                let text = format!("# TYPE envoy_x counter\nenvoy_x{{}} {counted}\n");
                answer(stream, |_| text.clone()).await;
            }
        });
        let applications = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = applications.local_addr().unwrap().port();
        servers.spawn(async move {
            loop {
                let (stream, _) = applications.accept().await.unwrap();
                answer(stream, |path| {
                    let name = path.trim_start_matches('/');
                    format!(
                        "# TYPE jobs_total counter\njobs_total{{kind=\"{name}\"}} 1\n# TYPE only{name} gauge\nonly{name} 1\n"
                    )
                })
                .await;
            }
        });
        let registry = Registry::new(&[]);
        let (state, status) = watch::channel(EnvoyStatus::default());
        let own = Arc::new(OwnMetrics::new(registry.clone(), admin.clone(), status, "1"));
        let observed = Arc::new(Observed::default());
        let gather = Gather::new(admin, own, registry.clone(), Arc::clone(&observed));
        let took = Arc::new(Took::default());
        let pipeline = Arc::clone(&took) as Arc<dyn Pipeline>;
        Self {
            metrics: Metrics::new(gather, observed, pipeline, &BTreeMap::new()),
            registry,
            took,
            port,
            counted,
            _servers: servers,
            _dir: dir,
            _envoy: state,
        }
    }

    async fn configure(&self, collection: Json) {
        let collection = serde_json::from_value(collection).unwrap();
        self.metrics.configure(Some(collection), &[], BTreeMap::new()).await;
    }

    /// Applications with these numbers.
    fn applications(&self, numbers: std::ops::Range<u32>) -> Json {
        let application = |number| json!({"name": format!("app-{number}"), "address": "127.0.0.1", "port": self.port, "path": format!("/{number}")});
        numbers.map(application).collect()
    }

    /// What Prometheus is answered.
    async fn scrape(&self) -> String {
        let output = Arc::clone(&self.metrics.inner.control.lock().await.outputs["prometheus"]);
        let gather = Arc::clone(&self.metrics.inner.gather);
        let routes = Routes { paths: [("/metrics".to_owned(), output)].into(), gather };
        let request = Request::get("/metrics").body(()).unwrap();
        let body = serve::answer(&routes, &request, &TaskTracker::new()).into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// Collections of an output so far.
    async fn collections(&self, name: &str) -> u64 {
        let status = self.metrics.status().await;
        status.outputs.iter().find(|output| output.name == name).unwrap().collections
    }

    /// Series that the agent counts itself.
    fn own_series(&self) -> usize {
        self.registry.encode().lines().filter(|line| !line.starts_with('#')).count()
    }
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn outputs(interval: u64) -> Json {
    let all = json!({"profile": "All"});
    json!([
        {"name": "prometheus", "selection": all, "to": {"prometheus": {"address": "127.0.0.1", "port": 0, "path": "/metrics"}}},
        {"name": "pushed", "selection": all, "to": {"push": {"intervalMs": interval, "temporality": "Delta"}}},
    ])
}

/// Weeks of a workload whose endpoints come and go, each with families and series of its own: what is remembered stays as large
/// as what there is.
#[tokio::test]
async fn ten_thousand_short_lived_endpoints_leave_nothing_behind() {
    const AT_ONCE: u32 = 100;
    let world = World::start().await;
    let (mut most, mut most_own, mut early) = (0, 0, 0);
    for round in 0..100_u32 {
        let applications = world.applications(round * AT_ONCE..(round + 1) * AT_ONCE);
        world.configure(json!({"applications": applications, "outputs": outputs(3000)})).await;
        let text = world.scrape().await;
        assert_eq!(text.matches("\njobs_total{").count(), AT_ONCE as usize, "round {round}");
        assert_eq!(text.matches("# TYPE jobs_total counter").count(), 1);
        let control = world.metrics.inner.control.lock().await;
        for output in control.outputs.values() {
            most = most.max(output.shape.lock().await.remembered());
        }
        drop(control);
        most_own = most_own.max(world.own_series());
        if round == 19 {
            early = most_own;
        }
    }
    eventually("it is pushed, too", async || world.collections("pushed").await > 1).await;
    // Two series each in as many collections as are remembered, and Envoy's.
    assert!(most <= (2 * AT_ONCE * KEEP + 1) as usize, "{most} series are remembered");
    assert!(most_own <= early + 10, "the agent counts {early} series of its own, later {most_own}");

    world.configure(json!({"outputs": outputs(100)})).await;
    world.scrape().await;
    let before = world.collections("pushed").await;
    eventually("another push", async || world.collections("pushed").await > before + 1).await;
    let left = world.registry.encode();
    assert!(!left.contains("app-"), "{left}");
    world.metrics.shutdown().await;
}

/// Deltas are said once: what the pipeline has no room for comes later, and so does what was counted meanwhile.
#[tokio::test]
async fn deltas_that_were_refused_come_later() {
    let world = World::start().await;
    world.configure(json!({"outputs": outputs(100)})).await;
    eventually("a first push", async || world.collections("pushed").await >= 2).await;
    let first = world.took.sum("envoy_x_total");
    world.took.no_room_for.store(5, Ordering::Relaxed);
    // Envoy counts on between one refusal and the next.
    for (refused, counted) in (1..=5).zip([8_u64, 16, 24, 32, 40]) {
        world.counted.store(counted, Ordering::Relaxed);
        eventually("another refusal", async || {
            world.took.refused.load(Ordering::Relaxed) >= refused
        })
        .await;
    }
    eventually("there is room again", async || {
        world.took.refused.load(Ordering::Relaxed) == 5
            && (world.took.sum("envoy_x_total") - first - 39.0).abs() < f64::EPSILON
    })
    .await;
    world.metrics.shutdown().await;
    assert!((world.took.sum("envoy_x_total") - first - 39.0).abs() < f64::EPSILON);
}
