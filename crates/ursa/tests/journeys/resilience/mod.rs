//! Services that fail, and a proxy that is told how to bear it: what its workload sees of it, and what is counted.

mod service;

use std::ops::RangeBounds;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use self::service::{HEALTH, Instance, Mood};
use crate::collector::free;
use crate::mesh::{Mesh, eventually};

/// The services, and what each speaks.
const SERVICES: [(&str, &str); 7] = [
    ("moody", "http"),
    ("calls", "grpc"),
    ("bytes", "tcp"),
    ("slow", "http"),
    ("narrow", "http"),
    ("mixed", "http"),
    ("checked", "http"),
];
/// How many requests in a row show that none fails.
const IN_A_ROW: u64 = 10;
/// Longer than any answer that is waited for.
const FOR_EVER: Duration = Duration::from_mins(1);

/// A proxy `shop` with an outbound to each service; instances are called without proxies of their own.
struct World {
    mesh: Mesh,
    metrics: u16,
}

impl World {
    fn start() -> Self {
        let outbound =
            SERVICES.map(|(name, _)| json!({"port": free(), "tags": {"kuma.io/service": name}}));
        let tags = json!({"kuma.io/service": "shop", "kuma.io/protocol": "http"});
        let inbound = [json!({"port": free(), "servicePort": free(), "tags": tags})];
        let networking = json!({"address": "127.0.0.1", "inbound": inbound, "outbound": outbound});
        let shop = json!({"type": "Dataplane", "mesh": "default", "name": "shop", "networking": networking});
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mesh.yaml");
        std::fs::write(&file, shop.to_string()).unwrap();
        let mesh = Mesh::demo(&["-f", &file.to_string_lossy()]);
        let metrics = free();
        let backends = json!([{"prometheus": {"port": metrics}}]);
        let metric = json!({"type": "MeshMetric", "mesh": "default", "name": "all", "spec": {"default": {"backends": backends}}});
        mesh.apply(&metric.to_string());
        Self { mesh, metrics }
    }

    /// Lets instances on these ports serve the service.
    fn serve(&self, service: &str, ports: &[u16]) {
        let (_, protocol) = SERVICES.iter().find(|(name, _)| *name == service).unwrap();
        let tags = json!({"kuma.io/service": service, "kuma.io/protocol": protocol});
        for port in ports {
            let inbound = [json!({"port": port, "servicePort": free(), "tags": tags})];
            let networking = json!({"address": "127.0.0.1", "inbound": inbound});
            let instance = json!({"type": "Dataplane", "mesh": "default", "name": format!("{service}-{port}"), "networking": networking});
            self.mesh.apply(&instance.to_string());
        }
    }

    /// Applies a policy for what goes to the service.
    fn policy(&self, kind: &str, service: &str, settings: &Value) {
        let to =
            [json!({"targetRef": {"kind": "MeshService", "name": service}, "default": settings})];
        let policy = json!({"type": kind, "mesh": "default", "name": service, "spec": {"targetRef": {"kind": "Mesh"}, "to": to}});
        self.mesh.apply(&policy.to_string());
    }

    /// Where the workload reaches the service.
    async fn port(&self, service: &str) -> u16 {
        let dataplane = self.mesh.get("/meshes/default/dataplanes/shop").await;
        let outbounds = dataplane["networking"]["outbound"].as_array().unwrap().clone();
        let own = outbounds.iter().find(|it| it["tags"]["kuma.io/service"] == service).unwrap();
        u16::try_from(own["port"].as_u64().unwrap()).unwrap()
    }

    /// What a request to the service becomes: a status and who answered; none if nothing does in time.
    async fn ask(&self, service: &str) -> Option<(StatusCode, String)> {
        let url = format!("http://127.0.0.1:{}/", self.port(service).await);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().unwrap();
        let answer = client.get(url).send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?))
    }

    /// Waits until so many requests in a row are answered well, if `by` is given by that instance.
    async fn all_are_well(&self, service: &str, by: Option<u16>) {
        eventually(&format!("all requests to {service} are answered well"), async || {
            for _ in 0..IN_A_ROW {
                let (status, instance) = self.ask(service).await?;
                let right = by.is_none_or(|port| instance == port.to_string());
                (status == StatusCode::OK && right).then_some(())?;
            }
            Some(())
        })
        .await;
    }

    /// What the proxy counts of what goes to the service; none if there is no such series.
    async fn counted(&self, family: &str, service: &str) -> Option<u64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let text = reqwest::get(url).await.ok()?.text().await.ok()?;
        let of_service = format!("destination=\"{service}\"");
        let own = text.lines().filter(|line| {
            line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{'))
                && line.contains(&of_service)
        });
        own.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).reduce(|a, b| a + b)
    }

    async fn is_counted(&self, family: &str, service: &str, wanted: impl RangeBounds<u64>) {
        eventually(&format!("{family} of {service}"), async || {
            self.counted(family, service).await.filter(|it| wanted.contains(it)).map(|_| ())
        })
        .await;
    }
}

#[tokio::test]
async fn failures_are_borne_as_policies_say_and_counted() {
    let world = World::start();
    retried_requests(&world).await;
    retried_calls(&world).await;
    retried_connections(&world).await;
    timed_out(&world).await;
    limited(&world).await;
    ejected(&world).await;
    checked(&world).await;
}

/// Every other answer is a failure, and none reaches the workload.
async fn retried_requests(world: &World) {
    let instance = Instance::start(Mood::Moody).await;
    world.serve("moody", &[instance.port]);
    eventually("a failure is seen", async || {
        (world.ask("moody").await?.0 == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    world.is_counted("envoy_cluster_upstream_rq_retry_total", "moody", 0..=0).await;
    let settings =
        json!({"http": {"numRetries": 2, "retryOn": ["503"], "backOff": {"baseInterval": "1ms"}}});
    world.policy("MeshRetry", "moody", &settings);
    world.all_are_well("moody", None).await;
    for family in
        ["envoy_cluster_upstream_rq_retry_total", "envoy_cluster_upstream_rq_retry_success_total"]
    {
        world.is_counted(family, "moody", IN_A_ROW - 1..).await;
    }
    // What never gets well is given up, and that is counted too.
    instance.becomes(Mood::Failing(503));
    assert_eq!(world.ask("moody").await.unwrap().0, StatusCode::SERVICE_UNAVAILABLE);
    world.is_counted("envoy_cluster_upstream_rq_retry_limit_exceeded_total", "moody", 1..).await;
}

/// The same of gRPC, whose failures are answers with status 200.
async fn retried_calls(world: &World) {
    let instance = Instance::start(Mood::MoodyCalls).await;
    world.serve("calls", &[instance.port]);
    let client =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Empty<Bytes>>();
    let url = format!("http://127.0.0.1:{}/shop.Catalog/List", world.port("calls").await);
    let call = async || {
        let request = hyper::Request::post(&url)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let answer = client.request(request.body(Empty::new()).unwrap()).await.ok()?;
        Some(answer.headers().get("grpc-status")?.to_str().ok()?.to_owned())
    };
    eventually("a failure is seen", async || (call().await? == "14").then_some(())).await;
    let settings = json!({"grpc": {"numRetries": 2, "retryOn": ["Unavailable"], "backOff": {"baseInterval": "1ms"}}});
    world.policy("MeshRetry", "calls", &settings);
    eventually("all calls are answered well", async || {
        for _ in 0..IN_A_ROW {
            (call().await? == "0").then_some(())?;
        }
        Some(())
    })
    .await;
    let family = "envoy_cluster_upstream_rq_retry_success_total";
    world.is_counted(family, "calls", IN_A_ROW - 1..).await;
}

/// Of two instances one takes no connections.
async fn retried_connections(world: &World) {
    let instance = Instance::of_bytes().await;
    world.serve("bytes", &[instance.port, free()]);
    let port = world.port("bytes").await;
    let echo = async || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"ping").await.ok()?;
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.ok()?;
        (back == *b"ping").then_some(())
    };
    eventually("a connection fails", async || echo().await.is_none().then_some(())).await;
    world.policy("MeshRetry", "bytes", &json!({"tcp": {"maxConnectAttempt": 8}}));
    eventually("all connections are made", async || {
        for _ in 0..IN_A_ROW {
            echo().await?;
        }
        Some(())
    })
    .await;
    world.is_counted("envoy_cluster_upstream_cx_connect_fail_total", "bytes", 1..).await;
}

/// An answer that takes for ever.
async fn timed_out(world: &World) {
    let instance = Instance::start(Mood::Slow(FOR_EVER)).await;
    world.serve("slow", &[instance.port]);
    world.policy("MeshTimeout", "slow", &json!({"http": {"requestTimeout": "200ms"}}));
    eventually("a request is given up", async || {
        (world.ask("slow").await?.0 == StatusCode::GATEWAY_TIMEOUT).then_some(())
    })
    .await;
    world.is_counted("envoy_cluster_upstream_rq_timeout_total", "slow", 1..).await;
}

/// More requests at once than there may be.
async fn limited(world: &World) {
    let instance = Instance::start(Mood::Slow(Duration::from_millis(300))).await;
    world.serve("narrow", &[instance.port]);
    world.all_are_well("narrow", None).await;
    let limits = json!({"maxConnections": 1, "maxPendingRequests": 1, "maxRequests": 2});
    world.policy("MeshCircuitBreaker", "narrow", &json!({ "connectionLimits": limits }));
    let url = format!("http://127.0.0.1:{}/", world.port("narrow").await);
    eventually("some are turned away, and some answered", async || {
        let mut requests = JoinSet::new();
        for _ in 0..IN_A_ROW {
            requests.spawn(reqwest::get(url.clone()));
        }
        let answers = requests.join_all().await;
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        let turned_away = |answer: &reqwest::Response| {
            answer.status() == StatusCode::SERVICE_UNAVAILABLE
                && answer.headers().contains_key("x-envoy-overloaded")
        };
        let well = answers.iter().any(|answer| answer.status() == StatusCode::OK);
        (well && answers.iter().any(turned_away)).then_some(())
    })
    .await;
    world.is_counted("envoy_cluster_upstream_rq_pending_overflow_total", "narrow", 1..).await;
}

/// Of two instances one fails, and is left out.
async fn ejected(world: &World) {
    let well = Instance::start(Mood::Well).await;
    let failing = Instance::start(Mood::Failing(500)).await;
    world.serve("mixed", &[well.port, failing.port]);
    eventually("a failure is seen", async || {
        (world.ask("mixed").await?.0 == StatusCode::INTERNAL_SERVER_ERROR).then_some(())
    })
    .await;
    let outliers = json!({
        "baseEjectionTime": "10m",
        "maxEjectionPercent": 50,
        "healthyPanicThreshold": 0,
        "detectors": {"totalFailures": {"consecutive": 3}},
    });
    world.policy("MeshCircuitBreaker", "mixed", &json!({ "outlierDetection": outliers }));
    world.all_are_well("mixed", Some(well.port)).await;
    for family in [
        "envoy_cluster_outlier_detection_ejections_active",
        "envoy_cluster_outlier_detection_ejections_enforced_total",
        "envoy_cluster_membership_healthy",
    ] {
        world.is_counted(family, "mixed", 1..=1).await;
    }
}

/// Of two instances one says that it is not well, until it says otherwise.
async fn checked(world: &World) {
    let well = Instance::start(Mood::Well).await;
    let sick = Instance::start(Mood::Sick).await;
    world.serve("checked", &[well.port, sick.port]);
    let answered_by = async |port: u16| {
        eventually("that instance answers", async || {
            (world.ask("checked").await?.1 == port.to_string()).then_some(())
        })
        .await;
    };
    answered_by(sick.port).await;
    let settings = json!({
        "interval": "100ms", "noTrafficInterval": "100ms", "timeout": "5s", "unhealthyThreshold": 1, "healthyPanicThreshold": 0,
        "http": {"path": HEALTH},
    });
    world.policy("MeshHealthCheck", "checked", &settings);
    world.all_are_well("checked", Some(well.port)).await;
    world.is_counted("envoy_cluster_membership_healthy", "checked", 1..=1).await;
    world.is_counted("envoy_cluster_membership_total", "checked", 2..=2).await;
    world.is_counted("envoy_cluster_health_check_failure_total", "checked", 1..).await;
    sick.becomes(Mood::Well);
    world.is_counted("envoy_cluster_membership_healthy", "checked", 2..=2).await;
    answered_by(sick.port).await;
}
