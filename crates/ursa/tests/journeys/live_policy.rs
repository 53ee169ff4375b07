//! Policies changed while requests flow on kept-alive connections: the proxies follow at once, and no request is
//! lost. The backend is first the control plane's own store, then a real OpenTelemetry Collector.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::collector::{self, Collector};
use crate::mesh::{Mesh, eventually};

/// A connection that was not kept alive.
const CLOSED: &str = "the connection was closed";
/// Longer than Envoy's tracer keeps spans: whatever has not come by then was not made.
const SETTLED: Duration = Duration::from_secs(3);

fn policy(default: &str) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: all\nspec:\n  targetRef: {{kind: Mesh}}\n  default: {default}\n"
    )
}

fn ursa_backend(rest: &str) -> String {
    policy(&format!(
        "{{backends: [{{openTelemetry: {{backendRef: {{kind: MeshOpenTelemetryBackend, name: ursa}}}}}}]{rest}}}"
    ))
}

/// Asks the gateway again and again over one connection.
struct KeptAlive {
    stop: Arc<AtomicBool>,
    task: JoinSet<(usize, Vec<String>)>,
}

impl KeptAlive {
    fn start(gateway: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let url = format!("{gateway}/");
        let mut task = JoinSet::new();
        task.spawn(async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
            let mut answered = 0;
            let mut failures = Vec::new();
            while !told.load(Ordering::Relaxed) {
                match client.get(&url).send().await {
                    Ok(response) if response.status().is_success() => {
                        let closing =
                            response.headers().get("connection").is_some_and(|v| v == "close");
                        if closing {
                            failures.push(CLOSED.to_owned());
                        }
                        response.bytes().await.unwrap();
                        answered += 1;
                    }
                    Ok(response) => failures.push(response.status().to_string()),
                    Err(error) => failures.push(error.to_string()),
                }
                sleep(Duration::from_millis(30)).await;
            }
            (answered, failures)
        });
        Self { stop, task }
    }

    /// How many were answered; what went wrong.
    async fn stop(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.join_next().await.unwrap().unwrap()
    }
}

/// The newest spans that the control plane holds, of more time than [`SETTLED`]: when each began, and its attributes.
async fn spans(mesh: &Mesh) -> Vec<(Timestamp, Value)> {
    let recent = mesh.get("/telemetry/traces?limit=300").await;
    let mut spans = Vec::new();
    for trace in recent["traces"].as_array().unwrap() {
        let began: Timestamp = trace["start"].as_str().unwrap().parse().unwrap();
        let whole =
            mesh.get(&format!("/telemetry/traces/{}", trace["traceId"].as_str().unwrap())).await;
        for span in whole["spans"].as_array().unwrap() {
            #[expect(clippy::cast_possible_truncation, reason = "an offset within a trace")]
            let offset = (span["startMs"].as_f64().unwrap() * 1e6) as i64;
            spans.push((began + offset.nanoseconds(), span.clone()));
        }
    }
    spans
}

/// Waits until proxies make no spans any more for which `old` holds. How long they go on is not judged: that is a matter of the
/// machine.
async fn none_since(mesh: &Mesh, what: &str, change: Timestamp, old: impl Fn(&Value) -> bool) {
    eventually(&format!("no {what} for a while"), async || {
        let until = Timestamp::now() - SETTLED;
        let old = spans(mesh).await.into_iter().filter(|(_, span)| old(span));
        let last = old.map(|(began, _)| began).max().unwrap_or(change).max(change);
        (last < until).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sampling_tags_and_backends_change_on_kept_alive_connections() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let gateway = mesh.gateway().await;
    mesh.apply(&ursa_backend(", tags: [{name: edition, literal: first}]"));
    let load = KeptAlive::start(&gateway);
    let edition =
        |wanted: &'static str| move |span: &Value| span["attributes"]["edition"] == wanted;
    eventually("spans with the first tag", async || {
        let spans = spans(&mesh).await;
        spans.iter().any(|(_, span)| edition("first")(span)).then_some(())
    })
    .await;

    // A new tag.
    let change = Timestamp::now();
    mesh.apply(&ursa_backend(", tags: [{name: edition, literal: second}]"));
    eventually("spans with the second tag", async || {
        let spans = spans(&mesh).await;
        spans.iter().any(|(_, span)| edition("second")(span)).then_some(())
    })
    .await;
    none_since(&mesh, "span with the old tag", change, edition("first")).await;

    // Another backend: a real Collector, over gRPC and then over HTTP.
    let collector = Collector::start().await;
    for endpoint in [collector.grpc(), collector.http()] {
        let change = Timestamp::now();
        mesh.apply(&policy(&format!(
            "{{backends: [{{openTelemetry: {{endpoint: \"{endpoint}\"}}}}], \
             resourceAttributes: {{deployment.environment.name: test}}, \
             tags: [{{name: edition, literal: third}}, {{name: agent, header: {{name: x-agent, default: none}}}}]}}"
        )));
        none_since(&mesh, "span for the old backend", change, |_| true).await;
        let (already, since) = (collector.spans().len(), Timestamp::now());
        eventually("spans at the Collector", async || {
            let spans = collector.spans();
            let whole = spans.iter().skip(already).filter(|span| span["name"].is_string()).count();
            (whole > 100).then_some(())
        })
        .await;
        collector::assert_whole_traces(&collector.spans()[already..], since);
    }

    // Nothing when off, and nothing is taken from the requests.
    let change = Timestamp::now();
    mesh.apply(&ursa_backend(", sampling: {overall: 0}"));
    none_since(&mesh, "span without sampling", change, |_| true).await;
    let off = Timestamp::now();
    let arrived = collector.spans().len();
    sleep(SETTLED).await;
    let late = spans(&mesh).await.into_iter().filter(|(began, _)| *began > off).count();
    assert_eq!((late, collector.spans().len()), (0, arrived), "no span while off");

    let (answered, failures) = load.stop().await;
    assert_eq!(failures, Vec::<String>::new());
    assert!(answered > 200, "{answered}");

    // No backend at all takes the tracer out of the listeners, which closes connections, gently: no request is lost.
    let load = KeptAlive::start(&gateway);
    mesh.apply(&ursa_backend(""));
    eventually("spans again", async || {
        spans(&mesh).await.iter().any(|(began, _)| *began > off).then_some(())
    })
    .await;
    let change = Timestamp::now();
    mesh.apply(&policy("{backends: []}"));
    none_since(&mesh, "span without a backend", change, |_| true).await;
    let (_, mut failures) = load.stop().await;
    failures.retain(|failure| failure != CLOSED);
    assert_eq!(failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_quarter_is_a_quarter() {
    const REQUESTS: u32 = 2_000;
    let mesh = Mesh::demo(&["--rps", "0"]);
    let gateway = mesh.gateway().await;
    mesh.apply(&ursa_backend(", sampling: {random: 25}"));
    eventually("the policy everywhere", async || {
        let config = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
        config.to_string().contains("\"numerator\":2500,").then_some(())
    })
    .await;
    let client = reqwest::Client::new();
    for _ in 0..REQUESTS {
        let response = client.get(format!("{gateway}/")).send().await.unwrap();
        response.bytes().await.unwrap();
    }
    sleep(SETTLED).await;
    let recent = mesh.get("/telemetry/traces?limit=1000").await;
    let traces: BTreeSet<_> = recent["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace["traceId"].to_string())
        .collect();
    // Binomial: mean 500, standard deviation 19.4; four of them.
    let deviation = (f64::from(REQUESTS) * 0.25 * 0.75).sqrt();
    let difference = (traces.len() as f64 - f64::from(REQUESTS) * 0.25).abs();
    assert!(difference < 4.0 * deviation, "{} of {REQUESTS} requests were traced", traces.len());
}
