//! What becomes of one request, asked by hand.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::shop::{apply, open, request};

const POLICIES: &str = "type: MeshTrace
mesh: default
name: all
spec:
  default:
    backends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: ursa}}}]
    sampling:
      random: 10
      rules:
        - {match: {path: {type: PathPrefix, value: /noisy}}, off: true}
---
type: MeshAccessLog
mesh: default
name: errors
spec:
  from: [{default: {backends: [{file: {path: /tmp/errors}, filter: {status: {from: 500}}}]}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn what_decides_about_a_request_is_named() {
    let running = open().await;
    apply(&running, &[POLICIES.to_owned()]).await;
    let ask = async |body: Value| {
        let path = "/meshes/default/dataplanes/cart/_request";
        let json = "content-type: application/json";
        request(&running, Method::POST, path, &[json], body.to_string()).await
    };
    let first = async |body: Value| ask(body).await.json()["listeners"][0].clone();

    let plain = first(json!({"path": "/items"})).await;
    assert_eq!(plain["traced"]["verdict"], json!({"is": "share", "of": 0.1}), "{plain:#}");
    assert_eq!(plain["traced"]["steps"][0]["origin"]["place"]["line"], 8);
    assert_eq!(plain["logged"][0]["verdict"]["on"], json!(["status"]));
    assert_eq!(plain["logPolicies"][0]["policy"]["name"], "errors");
    let counter = plain["counted"]["by"][0].as_str().expect("a counter");
    assert_eq!(counter, "http.inbound_10003.downstream_rq_total");

    let id = "000004d2-0000-4000-8000-000000000000";
    let drawn = first(json!({"headers": {"x-request-id": id}, "status": 503})).await;
    assert_eq!(drawn["traced"]["verdict"]["is"], "no");
    assert_eq!(drawn["traced"]["steps"][0]["drawn"], 1234);
    assert_eq!(drawn["logged"][0]["verdict"]["is"], "yes");

    let noisy = first(json!({"path": "/noisy/neighbour"})).await;
    assert_eq!(noisy["traced"]["verdict"]["is"], "no");
    assert_eq!(noisy["traced"]["decider"]["field"], "sampling.rules");
    assert_eq!(noisy["traced"]["decider"]["origin"]["place"]["line"], 9);
    let probe = first(json!({"path": "/healthz"})).await;
    assert_eq!(probe["traced"]["decider"]["field"], "sampling.traceProbes");

    let out = ask(json!({"outbound": "payments"})).await.json();
    assert_eq!(out["listeners"][0]["listener"], "outbound:20000", "{out:#}");
    let trace = ask(json!({"trace": "ab".repeat(16)})).await.json();
    assert_eq!((&trace["traced"], &trace["listeners"]), (&json!(false), &json!([])));
    let nobody = ask(json!({"outbound": "nobody"})).await.json().to_string();
    assert!(nobody.contains("outbound:20000 to payments"), "{nobody}");
    for wrong in [json!({"outbound": "nobody"}), json!({"trace": "xyz"}), json!({"pth": "/"})] {
        assert_eq!(ask(wrong).await.status, StatusCode::BAD_REQUEST);
    }
    running.shutdown().await;
}
