//! Telling Prometheus where proxies answer it: over HTTP, by monitoring assignments, and to a real one.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use prost::Message as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;
use ursa_control::Running;

use crate::shop::{SOON, apply, get, names, open, request};

const SERVICE: &str = "/kuma.observability.v1.MonitoringAssignmentDiscoveryService";

/// A MeshMetric for all proxies of the shop, of which `gateway` answers over TLS.
fn metrics(port: u16) -> Vec<String> {
    let policy = |name: &str, target: &str, prometheus: &str| {
        format!(
            "type: MeshMetric\nmesh: default\nname: {name}\nspec:\n  targetRef: {target}\n  default: \
             {{backends: [{{prometheus: {prometheus}}}]}}\n"
        )
    };
    vec![
        policy("all", "{kind: Mesh}", &format!("{{port: {port}}}")),
        policy("gateway", "{kind: MeshService, name: gateway}", "{tls: {mode: ProvidedTLS}}"),
    ]
}

/// Asks for assignments over REST, as Prometheus does.
async fn fetch(running: &Running, known: &str, wait: &str) -> (StatusCode, Value) {
    let url = format!(
        "http://{}/v3/discovery:monitoringassignments?fetch-timeout={wait}",
        running.addresses().mads
    );
    let body = json!({"version_info": known, "node": {"id": "prometheus-0"}, "resource_names": []});
    let request = reqwest::Client::new().post(url).timeout(SOON).body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn http_service_discovery_lists_every_proxy_that_answers() {
    let running = open().await;
    assert_eq!(get(&running, "/v1/discovery/prometheus").await, json!([]));
    apply(&running, &metrics(5670)).await;
    let groups = get(&running, "/v1/discovery/prometheus").await;
    let proxies: Vec<_> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["labels"]["__meta_kuma_dataplane"].as_str().unwrap())
        .collect();
    assert_eq!(proxies.len(), names().count());
    assert!(names().all(|name| proxies.contains(&name)), "{proxies:?}");
    assert_eq!(get(&running, "/v1/discovery/prometheus?mesh=other").await, json!([]));
    let overview = get(&running, "/meshes/default/dataplanes/cart/_overview").await;
    assert_eq!(overview["metrics"][0]["to"]["prometheus"]["port"], 5670, "{overview}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_what_is_new() {
    let running = open().await;
    let (status, first) = fetch(&running, "", "10s").await;
    assert_eq!((status, &first["resources"]), (StatusCode::OK, &json!([])));
    let version = first["version_info"].as_str().unwrap();
    assert_eq!(fetch(&running, version, "0s").await.0, StatusCode::NOT_MODIFIED);

    let (waited, ()) = tokio::join!(fetch(&running, version, "10s"), async {
        apply(&running, &metrics(5670)).await;
    });
    let (status, second) = waited;
    assert_eq!(status, StatusCode::OK);
    let resources = second["resources"].as_array().unwrap();
    let gateway = resources.iter().find(|it| it["service"] == "gateway").unwrap();
    let expected = json!({
        "@type": "type.googleapis.com/kuma.observability.v1.MonitoringAssignment",
        "mesh": "default",
        "service": "gateway",
        "targets": [{
            "name": "gateway",
            "scheme": "https",
            "address": "127.0.0.1:5670",
            "metrics_path": "/metrics",
            "labels": {"kuma.io/protocol": "http"},
        }],
        "labels": {},
    });
    assert_eq!(*gateway, expected);

    let (status, problem) = fetch(&running, "", "soon").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let headers = ["host: ursa.evil.example"];
    let api = request(&running, Method::GET, "/v1/discovery/prometheus", &headers, "").await;
    assert_eq!(api.status, StatusCode::FORBIDDEN);
    running.shutdown().await;
}

/// What is read of an assignment.
#[derive(Clone, PartialEq, prost::Message)]
struct Assignment {
    #[prost(string, tag = "2")]
    mesh: String,
    #[prost(string, tag = "3")]
    service: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_of_every_change() {
    let running = open().await;
    let url = format!("http://{}", running.addresses().mads);
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let (requests, outgoing) = mpsc::channel(4);
    let ask = |version: &str| DiscoveryRequest {
        version_info: version.to_owned(),
        response_nonce: version.to_owned(),
        node: Some(Node { id: "prometheus-0".to_owned(), ..Node::default() }),
        ..DiscoveryRequest::default()
    };
    requests.send(ask("")).await.unwrap();
    let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
    let path = format!("{SERVICE}/StreamMonitoringAssignments").parse().unwrap();
    let streaming = tonic::Request::new(ReceiverStream::new(outgoing));
    let mut told = client.streaming(streaming, path, codec).await.unwrap().into_inner();

    let first = timeout(SOON, told.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.resources.len(), 0);
    requests.send(ask(&first.version_info)).await.unwrap();
    apply(&running, &metrics(5670)).await;
    let second = timeout(SOON, told.message()).await.unwrap().unwrap().unwrap();
    let services: Vec<_> = second
        .resources
        .iter()
        .map(|resource| Assignment::decode(resource.value.as_slice()).unwrap())
        .map(|assignment| (assignment.mesh, assignment.service))
        .collect();
    assert_eq!(services.len(), names().count());
    assert!(services.contains(&("default".to_owned(), "cart".to_owned())));

    client.ready().await.unwrap();
    let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
    let path = format!("{SERVICE}/FetchMonitoringAssignments").parse().unwrap();
    let once = client.unary(tonic::Request::new(ask("")), path, codec).await.unwrap().into_inner();
    assert_eq!(once.version_info, second.version_info);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_finds_the_proxies_either_way() {
    let running = open().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    apply(&running, &metrics(free.port())).await;
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"scrape_configs": [
        {"job_name": "kuma", "kuma_sd_configs": [{"server": format!("http://{}", running.addresses().mads)}]},
        {"job_name": "http", "http_sd_configs": [{"url": format!("{}/v1/discovery/prometheus", running.api_url())}]},
    ]});
    let file = dir.path().join("prometheus.yml");
    std::fs::write(&file, config.to_string()).unwrap();
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut prometheus = Command::new(program());
    prometheus
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut child = prometheus.spawn().expect("it can be run");

    let found = async || {
        let url = format!("http://{listen}/api/v1/targets?state=active");
        let answer = reqwest::get(url).await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        let targets = answer["data"]["activeTargets"].as_array()?.clone();
        (targets.len() == 2 * names().count()).then_some(targets)
    };
    let targets = timeout(2 * SOON, async {
        loop {
            if let Some(targets) = found().await {
                return targets;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let targets = targets.await.expect("Prometheus has found all proxies both ways");
    let of_gateway = |job: &str| {
        let is_it = |target: &&Value| {
            target["scrapePool"] == job && target["labels"]["instance"] == "gateway"
        };
        let target = targets.iter().find(is_it).unwrap();
        let mut discovered = target["discoveredLabels"].as_object().unwrap().clone();
        discovered.retain(|name, _| name.starts_with("__meta_kuma"));
        (target["scrapeUrl"].clone(), discovered)
    };
    let (url, labels) = of_gateway("kuma");
    assert_eq!(url, "https://127.0.0.1:5670/metrics");
    assert_eq!(labels["__meta_kuma_service"], "gateway");
    assert_eq!((url, labels), of_gateway("http"), "both ways tell the same");
    child.kill().await.unwrap();
    running.shutdown().await;
}

fn program() -> PathBuf {
    let given = std::env::var_os("URSA_PROMETHEUS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cached = || Some(cache.or_else(home)?.join("ursa/peers/prometheus/3.15.0/prometheus"));
    let path = given.or_else(cached).expect("HOME is set");
    assert!(path.exists(), "{} is missing: run cargo xtask peers", path.display());
    path
}
