//! The control plane's traces of its own work.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::Method;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};
use ursa_control::{Config, ControlPlane, OwnTraces, Running};
use ursa_metrics::{CONTROL_PLANE, control, pipeline};
use ursa_model::tracing_file;

use crate::agent::Agent;
use crate::shop::{SOON, apply, config, dataplane, id, metric, request, tracing};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A control plane that writes its spans to `file`.
async fn traced(file: &Path, settings: &str) -> Running {
    let text = format!("{settings}backends: [{{file: {{path: '{}'}}}}]\n", file.display());
    let file = tracing_file::parse(&text).tracing.expect("it is right");
    let traces = OwnTraces { file, environment: BTreeMap::new() };
    let config = Config { traces: Some(traces), ..config(None) };
    ControlPlane::start(config).await.expect("it starts")
}

/// All spans that were written.
fn spans(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let scopes = lines.flat_map(|line| array(&line["resourceSpans"]));
    let scopes = scopes.flat_map(|resource| array(&resource["scopeSpans"]));
    scopes.flat_map(|scope| array(&scope["spans"])).collect()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn said(span: &Value, key: &str) -> Option<String> {
    let found = array(&span["attributes"]).into_iter().find(|it| it["key"] == key)?;
    let value = &found["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).map(str::to_owned)
}

/// The first span with that name in the caller's trace, once it is there.
async fn find(file: &Path, name: &str) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        let mut all = spans(file).into_iter();
        let found = all.find(|it| it["traceId"] == TRACE && it["name"] == name);
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < deadline, "no `{name}` in {:#?}", spans(file));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_one_trace_from_its_caller_to_the_last_acknowledgement() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spans.json");
    let running = traced(&file, "sampling: 0\nbaggage: [team]\n").await;
    let proxies = [("cart", 10000), ("catalog", 10001)];
    let proxies = proxies.map(|(name, inbound)| dataplane(name, "127.0.0.1", inbound, &[]));
    apply(&running, &proxies).await;
    let mut agent = Agent::start(&running, &id("cart")).await;
    let _untouched = Agent::start(&running, &id("catalog")).await;

    let headers = [
        format!("traceparent: 00-{TRACE}-{CALLER}-01"),
        "tracestate: vendor=1".to_owned(),
        "baggage: team=shop,password=s3cr3t".to_owned(),
        "x-api-key: s3cr3t".to_owned(),
    ];
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let path = "/meshes/default/meshtraces/all?reason=s3cr3t";
    let policy = tracing("all", "{kind: Dataplane, name: cart}", 80) + "# s3cr3t\n";
    let put = request(&running, Method::PUT, path, &headers, policy).await;
    assert!(put.status.is_success(), "{}", put.text);
    agent.follow_until_acknowledged(&running, &id("cart")).await;

    let deliver = find(&file, "deliver").await;
    let generate = find(&file, "generate").await;
    let plan = find(&file, "plan").await;
    let write = find(&file, "store write").await;
    let server = find(&file, "PUT /meshes/{mesh}/{plural}/{name}").await;
    for (child, parent) in
        [(&deliver, &generate), (&generate, &plan), (&plan, &server), (&write, &server)]
    {
        assert_eq!(child["parentSpanId"], parent["spanId"], "{child:#}");
        assert_eq!(child["traceState"], "vendor=1");
        assert_eq!(said(child, "team").unwrap(), "shop");
    }
    assert_eq!(server["parentSpanId"], CALLER);
    assert_eq!(said(&server, "http.route").unwrap(), "/meshes/{mesh}/{plural}/{name}");
    assert_eq!(said(&server, "http.response.status_code").unwrap(), put.status.as_str());
    assert_eq!(said(&generate, "ursa.proxy").unwrap(), "cart");
    assert_eq!(said(&generate, "ursa.result").unwrap(), "changed");
    assert_eq!(said(&deliver, "ursa.result").unwrap(), "acknowledged");
    let events: Vec<_> = array(&deliver["events"]).iter().map(|it| it["name"].clone()).collect();
    assert!(
        events.iter().any(|it| it == "sent") && events.iter().any(|it| it == "ACK"),
        "{events:?}"
    );

    // With a share of 0 only what a caller asked for is there, and nothing of what it said else. A proxy that the change
    // does not touch costs nothing.
    let all = spans(&file);
    assert!(all.iter().all(|span| span["traceId"] == TRACE), "{all:#?}");
    let mut names: Vec<_> = all.iter().filter_map(|span| span["name"].as_str()).collect();
    names.sort_unstable();
    let wanted = [
        "PUT /meshes/{mesh}/{plural}/{name}",
        "deliver",
        "generate",
        "plan",
        "store get",
        "store get",
        "store write",
    ];
    assert_eq!(names, wanted);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("s3cr3t") && !text.contains("Bearer"), "{text}");
    assert!(text.contains("ursa-control-plane"), "{text}");
    assert!(metric(&running, "ursa_cp_own_spans_total", "recorded").await > 4);
    assert_eq!(metric(&running, "ursa_cp_own_spans_total", "dropped").await, 0);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spans.json");
    let running = traced(&file, "sampling: 0\n").await;
    apply(&running, &[dataplane("cart", "127.0.0.1", 10000, &[])]).await;
    let mut agent = Agent::start(&running, &id("cart")).await;
    let header = format!("traceparent: 00-{TRACE}-{CALLER}-01");
    let path = "/meshes/default/meshtraces/all";
    let policy = tracing("all", "{kind: Mesh}", 80);
    let headers = [header.as_str(), "if-match: \"7\""];
    let put = request(&running, Method::PUT, path, &headers, policy.clone()).await;
    assert_eq!(put.status, 412);
    assert_eq!(said(&find(&file, "store write").await, "error.type").unwrap(), "conflict");

    let put = request(&running, Method::PUT, path, &[&header], policy).await;
    assert!(put.status.is_success(), "{}", put.text);
    let refused = async {
        loop {
            let response = agent.next().await.unwrap();
            agent.nack(&response, "no").await;
        }
    };
    let delivered = find(&file, "deliver");
    let delivered = tokio::select! { it = delivered => it, () = refused => unreachable!() };
    assert_eq!(said(&delivered, "ursa.result").unwrap(), "refused");
    assert_eq!(delivered["status"]["code"].as_u64(), Some(2), "{delivered:#}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_pipeline_shows_its_metrics_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("spans.json");
    let running = traced(&file, "").await;
    apply(&running, &[dataplane("cart", "127.0.0.1", 10000, &[])]).await;
    let _agent = Agent::start(&running, &id("cart")).await;
    request(&running, Method::GET, "/meshes", &[], "").await;
    while metric(&running, "ursa_pipeline_sent_items_total", "traces").await == 0 {}
    let shown = request(&running, Method::GET, "/metrics", &[], "").await;
    let of_all = CONTROL_PLANE.iter().copied().chain([control::TRACING]);
    let wanted: Vec<_> = of_all.flatten().map(|it| it.name).collect();
    for name in wanted.into_iter().chain(["ursa_pipeline_queue_bytes"]) {
        assert!(shown.text.contains(&format!("# TYPE {name} ")), "{name}");
    }
    let known: Vec<_> = [CONTROL_PLANE, &[control::TRACING, pipeline::BACKENDS]].concat();
    let is_known = |name: &str| known.iter().copied().flatten().any(|it| it.name == name);
    for line in shown.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(is_known(name), "{name}");
    }
    running.shutdown().await;
}
