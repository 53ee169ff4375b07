//! What is written down of requests: from the policy to a real Collector, a file and a TCP sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::collector::{Collector, free};
use crate::mesh::{Mesh, eventually};

/// How many requests a second of a test makes, about.
const REQUESTS: usize = 100;

/// Waits until what the newest policy says holds: `seen` tells of a request that was made.
async fn settled(mesh: &Mesh, seen: impl AsyncFn() -> bool) {
    let gateway = mesh.gateway().await;
    eventually("the policy at the gateway", async || {
        reqwest::get(format!("{gateway}/settled")).await.ok()?.bytes().await.ok()?;
        seen().await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_request_is_a_record_with_its_trace_and_a_line() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let collector = Collector::start().await;
    let endpoint = collector.grpc();
    let lines = mesh.data.path().join("lines.json");
    mesh.ok(&["delete", "meshtrace", "payments"]);
    mesh.apply(&format!(
        "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends: [{{openTelemetry: {{endpoint: '{endpoint}'}}}}]\n\
         ---\ntype: MeshAccessLog\nmesh: default\nname: gateway\nspec:\n  \
         targetRef: {{kind: MeshService, name: gateway}}\n  \
         from:\n  - targetRef: {{kind: Mesh}}\n    default:\n      backends:\n      - openTelemetry: {{endpoint: '{endpoint}'}}\n      \
         resourceAttributes: {{kind.of.test: in}}\n  \
         to:\n  - targetRef: {{kind: Mesh}}\n    default:\n      backends:\n      \
         - openTelemetry:\n          endpoint: '{endpoint}'\n          body: {{to: '%KUMA_DESTINATION_SERVICE%', way: ['%KUMA_TRAFFIC_DIRECTION%', '%REQ(:PATH)%']}}\n          \
         attributes: [{{key: mesh, value: '%KUMA_MESH%'}}]\n      \
         - file: {{path: '{}', format: {{type: Json, omitEmptyValues: true, json: [{{key: path, value: '%REQ(:PATH)%'}}, {{key: gone, value: '%REQ(X-GONE)%'}}]}}}}\n",
        lines.display()
    ));
    settled(&mesh, async || lines.exists() && !collector.logs().is_empty()).await;
    let gateway = mesh.gateway().await;
    let client = reqwest::Client::new();
    for number in 0..REQUESTS {
        let answer = client.get(format!("{gateway}/?number={number}")).send().await.unwrap();
        answer.bytes().await.unwrap();
    }
    let of = |logs: &[Value], inbound: bool| -> Vec<Value> {
        let logs = logs.iter().filter(|log| !log.to_string().contains("/settled"));
        logs.filter(|log| (log["resource"]["kind.of.test"] == "in") == inbound).cloned().collect()
    };
    let (inbound, outbound) = eventually("a record for each way of each request", async || {
        let logs = collector.logs();
        let (inbound, outbound) = (of(&logs, true), of(&logs, false));
        (inbound.len() >= REQUESTS && outbound.len() >= REQUESTS).then_some((inbound, outbound))
    })
    .await;
    assert_eq!((inbound.len(), outbound.len()), (REQUESTS, REQUESTS));

    let spans = eventually("their spans", async || {
        let spans = collector
            .spans()
            .into_iter()
            .filter(|span| span["resource"]["service.name"] == "gateway" && span["kind"] == 2);
        let spans: BTreeMap<_, _> = spans
            .map(|span| (span["spanId"].as_str().unwrap().to_owned(), span["traceId"].clone()))
            .collect();
        let has = |log: &Value| spans.contains_key(log["spanId"].as_str().unwrap());
        inbound.iter().all(has).then_some(spans)
    })
    .await;
    for log in &inbound {
        assert_eq!(spans.get(log["spanId"].as_str().unwrap()), Some(&log["traceId"]), "{log:#}");
        assert_eq!(log["severityNumber"], 9, "{log:#}");
        assert_eq!(log["resource"]["service.name"], "gateway");
        assert_eq!(log["said"]["http.request.method"], "GET", "{log:#}");
        assert_eq!(log["said"]["url.path"], "/", "{log:#}");
    }
    for log in &outbound {
        let body = log["body"]["kvlistValue"]["values"].to_string();
        assert!(body.contains("frontend") && body.contains("OUTBOUND"), "{log:#}");
        assert_eq!(log["said"]["mesh"], "default", "{log:#}");
    }
    let text = eventually("a line for each", async || {
        let text = std::fs::read_to_string(&lines).unwrap_or_default();
        (text.lines().count() > REQUESTS).then_some(text)
    })
    .await;
    for line in text.lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap().as_object().unwrap().len(), 1);
    }
}

/// A TCP sink that remembers its lines.
#[derive(Debug)]
pub(crate) struct TcpSink {
    lines: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl TcpSink {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (lines, mut tasks) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
        let all = Arc::clone(&lines);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let all = Arc::clone(&all);
                connections.spawn(async move {
                    let mut lines = BufReader::new(connection).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        all.lock().unwrap().push(line);
                    }
                });
            }
        });
        Self { lines, _tasks: tasks }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn paths(&self) -> BTreeSet<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter_map(|line| Some(line.split("GET ").nth(1)?.split(' ').next()?.to_owned()))
            .collect()
    }
}

#[tokio::test]
async fn sinks_that_are_away_under_load_miss_no_line() {
    // In seconds. A minute is a long test.
    let away: u64 = std::env::var_os("URSA_SINKS_AWAY")
        .map_or(5, |seconds| seconds.to_str().unwrap().parse().unwrap());
    let mesh = Mesh::demo(&["--rps", "0"]);
    let (grpc, http, tcp) = (free(), free(), free());
    mesh.ok(&["delete", "meshtrace", "payments"]);
    mesh.apply(&format!(
        "type: MeshAccessLog\nmesh: default\nname: gateway\nspec:\n  \
         targetRef: {{kind: MeshService, name: gateway}}\n  \
         from:\n  - targetRef: {{kind: Mesh}}\n    default:\n      backends:\n      \
         - openTelemetry: {{endpoint: '127.0.0.1:{grpc}', body: 'GET %REQ(:PATH)%'}}\n      \
         - tcp: {{address: '127.0.0.1:{tcp}', format: {{type: Plain, plain: 'GET %REQ(:PATH)%'}}}}\n"
    ));
    {
        let (sink, collector) = (TcpSink::start(tcp).await, Collector::start_on(grpc, http).await);
        settled(&mesh, async || !sink.paths().is_empty() && !collector.logs().is_empty()).await;
    }
    let gateway = mesh.gateway().await;
    let started = std::time::Duration::from_secs(away);
    let begin = tokio::time::Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..4 {
        let gateway = gateway.clone();
        clients.spawn(async move {
            let http = reqwest::Client::new();
            let mut paths = Vec::new();
            while begin.elapsed() < started {
                let path = format!("/{client}-{}", paths.len());
                http.get(format!("{gateway}{path}")).send().await.unwrap().bytes().await.unwrap();
                paths.push(path);
            }
            paths
        });
    }
    let expected: BTreeSet<String> = clients.join_all().await.concat().into_iter().collect();
    assert!(expected.len() >= REQUESTS, "{} requests", expected.len());

    let sink = TcpSink::start(tcp).await;
    let collector = Collector::start_on(grpc, http).await;
    eventually("every line at the sink", async || expected.is_subset(&sink.paths()).then_some(()))
        .await;
    eventually("every record at the Collector", async || {
        let logs = collector.logs();
        let paths = logs.iter().filter_map(|log| {
            Some(log["body"]["stringValue"].as_str()?.strip_prefix("GET ")?.to_owned())
        });
        expected.is_subset(&paths.collect()).then_some(())
    })
    .await;
}
