//! What becomes of one request, asked by hand.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::shop::{apply, id, open, request};

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

const PARENTS: &str = "type: MeshTrace
mesh: default
name: all
spec:
  default:
    backends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: ursa}}}]
    propagators: [w3c_tracecontext, datadog]
    sampling:
      random: 10
      parent: {enabled: true}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_says_is_named_by_its_format() {
    let running = open().await;
    apply(&running, &[PARENTS.to_owned()]).await;
    let ask = async |priority: &str| {
        let headers = json!({
            "x-datadog-trace-id": "7", "x-datadog-parent-id": "8",
            "x-datadog-sampling-priority": priority, "b3": "0",
        });
        let path = "/meshes/default/dataplanes/cart/_request";
        let body = json!({"path": "/items", "headers": headers}).to_string();
        let reply =
            request(&running, Method::POST, path, &["content-type: application/json"], body);
        reply.await.json()["listeners"][0].clone()
    };
    let words = |of: &Value| -> Vec<String> {
        let list = of.as_array().expect("a list").iter();
        list.map(|it| it["words"].as_str().expect("words").to_owned()).collect()
    };
    let kept =
        [("1", "recorded, and so has this proxy"), ("-1", "not recorded, and neither is this one")];
    for (priority, end) in kept {
        let shown = ask(priority).await;
        let context = words(&shown["context"]);
        assert!(context[0].ends_with(", x-datadog-sampling-priority) counts"), "{context:?}");
        assert_eq!(context[1], "`b3` is there, but not in the list: it passes as it is");
        assert_eq!(shown["traced"]["decider"]["field"], "sampling.parent.enabled", "{shown:#}");
        assert_eq!(shown["traced"]["decider"]["origin"]["place"]["line"], 10);
        let steps = words(&shown["traced"]["steps"]);
        assert_eq!(steps, [format!("the caller, by `datadog`, has a span that is {end}")]);
    }

    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let ask_with = async |headers: Value| {
        let path = "/meshes/default/dataplanes/cart/_request";
        let body = json!({"path": "/items", "headers": headers}).to_string();
        let reply =
            request(&running, Method::POST, path, &["content-type: application/json"], body);
        reply.await.json()["listeners"][0].clone()
    };
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let shown = ask_with(json!({"traceparent": [parent, parent], "baggage": "a=b"})).await;
    assert_eq!(shown["context"][0]["fate"], "contradicts", "{shown:#}");
    let passes = json!([{"words": "is not in the list, and passes as it is"}]);
    assert_eq!(shown["baggage"], passes, "{shown:#}");
    let shown = ask_with(json!({"traceparent": parent.replace("-01", "-00")})).await;
    assert_eq!(shown["traced"]["onward"], "what goes on says not recorded", "{shown:#}");
    let rules = "    baggage: {set: [{name: team, literal: core}], incoming: {deny: [secret]}}\n";
    apply(&running, &[PARENTS.to_owned() + rules]).await;
    let shown = ask_with(json!({"baggage": ["secret=1", "a=b"]})).await;
    let handled = list(&shown["baggage"]);
    let fields: Vec<_> = handled.iter().map(|it| it["field"].clone()).collect();
    assert_eq!(fields, [json!("baggage.incoming"), json!("baggage.set"), json!(null)], "{shown:#}");
    assert_eq!(handled[0]["origin"]["place"]["line"], 11, "{shown:#}");

    let _agent = Agent::saying(&running, &id("cart"), &[("moduleProblem", "too old")]).await;
    let shown = ask_with(json!({"baggage": "secret=1"})).await;
    let handled = words(&shown["baggage"]);
    let expected =
        ["the rules for it are not kept to: too old", "is not in the list, and passes as it is"];
    assert_eq!(handled, expected, "{shown:#}");
    let shown = ask("1").await;
    let context = words(&shown["context"]);
    let lost = "is there and in the list, but not read without the module: it passes as it is";
    assert!(context[0].starts_with("`b3`") && context[1].ends_with(lost), "{context:?}");
    assert_eq!(shown["traced"]["steps"][0]["field"], "sampling.random", "{shown:#}");
    running.shutdown().await;
}
