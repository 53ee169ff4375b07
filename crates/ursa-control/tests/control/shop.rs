//! A running control plane with the mesh that most tests use: `gateway → frontend → catalog, cart
//! → payments`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use ursa_control::{Config, ControlPlane, Running, Source};
use ursa_model::ProxyId;

/// Nothing here takes longer on a machine that works.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Name, port of its inbound, services that it calls.
const SERVICES: [(&str, u16, &[&str]); 5] = [
    ("gateway", 10000, &["frontend"]),
    ("frontend", 10001, &["catalog", "cart"]),
    ("catalog", 10002, &[]),
    ("cart", 10003, &["payments"]),
    ("payments", 10004, &[]),
];

/// The names of the shop's proxies.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|(name, ..)| *name)
}

/// A policy that traces all requests to the built-in backend, on the proxies of `target`.
pub(crate) fn tracing(name: &str, target: &str, overall: u32) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: {name}\nspec:\n  targetRef: {target}\n  default:\n    \
         backends: [{{openTelemetry: {{backendRef: {{kind: MeshOpenTelemetryBackend, name: ursa}}}}}}]\n    \
         sampling: {{overall: {overall}}}\n"
    )
}

/// The Dataplane of a proxy on `address`.
pub(crate) fn dataplane(name: &str, address: &str, inbound: u16, calls: &[&str]) -> String {
    let mut text = format!(
        "type: Dataplane\nmesh: default\nname: {name}\nnetworking:\n  address: {address}\n  \
         inbound: [{{port: {inbound}, servicePort: {}, tags: {{kuma.io/service: {name}, \
         kuma.io/protocol: http}}}}]\n",
        inbound + 1000
    );
    if !calls.is_empty() {
        text.push_str("  outbound:\n");
    }
    for (at, service) in calls.iter().enumerate() {
        let port = 20000 + at;
        writeln!(text, "  - {{port: {port}, tags: {{kuma.io/service: {service}}}}}").unwrap();
    }
    text
}

/// A control plane on free ports.
pub(crate) async fn start(data_dir: Option<&Path>) -> Running {
    ControlPlane::start(config(data_dir)).await.expect("it starts")
}

/// What starts it.
pub(crate) fn config(data_dir: Option<&Path>) -> Config {
    let free = || SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        data_dir: data_dir.map(Path::to_owned),
        api: free(),
        xds: free(),
        mads: free(),
        otlp_grpc: free(),
        otlp_http: free(),
        ..Config::default()
    }
}

/// The same with the shop in it.
pub(crate) async fn open() -> Running {
    let running = start(None).await;
    let texts: Vec<_> = SERVICES
        .iter()
        .map(|(name, port, calls)| dataplane(name, "127.0.0.1", *port, calls))
        .collect();
    apply(&running, &texts).await;
    running
}

/// Applies documents that are right.
pub(crate) async fn apply(running: &Running, texts: &[String]) {
    let source = |text| Source { text, file: None, line: 1 };
    let sources: Vec<_> = texts.iter().map(|text| source(text.as_str())).collect();
    running.apply(&sources).await.expect("it is accepted");
}

/// The id of a proxy of the shop.
pub(crate) fn id(name: &str) -> ProxyId {
    ProxyId::new("default", name)
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect(&self.text)
    }
}

/// A request to the API; `headers` are lines such as `if-match: "1"`.
pub(crate) async fn request(
    running: &Running,
    method: Method,
    path: &str,
    headers: &[&str],
    body: impl Into<String>,
) -> Reply {
    let url = format!("{}{path}", running.api_url());
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(SOON)
        .build()
        .unwrap();
    let mut request = client.request(method, url).body(body.into());
    for line in headers {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let response = request.send().await.expect("an answer");
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    Reply { status: response.status(), headers, text: response.text().await.unwrap() }
}

pub(crate) async fn get(running: &Running, path: &str) -> Value {
    let reply = request(running, Method::GET, path, &[], "").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    reply.json()
}

/// The sum of a metric that counts over the series whose labels contain `label`.
pub(crate) async fn metric(running: &Running, name: &str, label: &str) -> u64 {
    let text = request(running, Method::GET, "/metrics", &[], "").await.text;
    let series = text.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(label)
    });
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
