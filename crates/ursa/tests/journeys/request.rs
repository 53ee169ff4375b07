//! One request: what is said of it before it is sent, what a real Envoy does, and what is said of it afterwards.

use serde_json::Value;

use crate::mesh::{Mesh, eventually};

const POLICY: &str = "type: MeshTrace
mesh: default
name: tenth
spec:
  targetRef: {kind: Dataplane, name: gateway}
  default:
    backends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: ursa}}}]
    sampling:
      random: 10
      rules: [{match: {path: {type: PathPrefix, value: /noisy}}, off: true}]
";

/// Ids of requests that draw 5000 and 999 of 10,000; a path that is off is sent with the latter, too.
const REQUESTS: [(&str, &str, bool); 4] = [
    ("00001388-0000-4000-8000-000000000001", "/items", false),
    ("000003e8-0000-4000-8000-000000000002", "/items", false),
    ("000003e7-0000-4000-8000-000000000003", "/noisy/items", false),
    ("000003e7-0000-4000-8000-000000000004", "/items", true),
];

/// The traces with the id of a request. Envoy writes into it that it drew it.
async fn traces(mesh: &Mesh, id: &str) -> Vec<Value> {
    let drawn = id.replace("-4000-", "-9000-");
    let path = format!("/telemetry/traces?tag=envoy.request_id%3D{drawn}");
    let found = mesh.get(&path).await;
    let list = found.as_array().or(found["traces"].as_array()).or(found["items"].as_array());
    list.unwrap_or_else(|| panic!("{found:#}")).clone()
}

fn explained(mesh: &Mesh, arguments: &[&str]) -> Value {
    let text = mesh.ok(&[&["explain", "request", "gateway", "-o", "json"], arguments].concat());
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn what_is_said_of_a_request_is_what_envoy_does() {
    let mesh = Mesh::demo(&[]);
    mesh.apply(POLICY);
    let gateway = mesh.gateway().await;
    let client = reqwest::Client::new();
    for (id, path, traced) in REQUESTS {
        let header = format!("x-request-id: {id}");
        let said = explained(&mesh, &["--path", path, "-H", &header]);
        let verdict = if traced { "yes" } else { "no" };
        assert_eq!(said["listeners"][0]["traced"]["verdict"]["is"], verdict, "{id}: {said:#}");
        let request = client.get(format!("{gateway}{path}")).header("x-request-id", id);
        request.send().await.expect("an answer").bytes().await.expect("a body");
    }

    // The last was traced: so the others would have been seen by now, had they been.
    let (last, others) = REQUESTS.split_last().expect("there are some");
    let trace = eventually("the trace", async || {
        let found = traces(&mesh, last.0).await;
        found.first().and_then(|trace| trace["traceId"].as_str().map(str::to_owned))
    })
    .await;
    for (id, ..) in others {
        assert!(traces(&mesh, id).await.is_empty(), "{id} is not traced");
    }

    let listener = eventually("the gateway's own span", async || {
        let said = explained(&mesh, &["--trace", &trace]);
        let listeners = said["listeners"].as_array().cloned().unwrap_or_default();
        let own = listeners.into_iter().find(|it| it["request"]["path"] == "/items");
        own.filter(|_| said["traced"] == true)
    })
    .await;
    assert_eq!(listener["traced"]["verdict"]["is"], "yes", "{listener:#}");
    let random = &listener["traced"]["steps"][0];
    assert_eq!((&random["by"], &random["drawn"]), (&"random".into(), &999.into()), "{listener:#}");
    assert_eq!(random["origin"]["policy"]["name"], "tenth");

    let text = mesh.ok(&["explain", "request", "gateway", "--path", "/noisy"]);
    assert!(text.contains("rule 0 of `sampling.rules`; set by MeshTrace default/tenth"), "{text}");
    let unknown = mesh.run(&["explain", "request", "gateway", "--trace", &"ab".repeat(16)]);
    assert_eq!(unknown.status.code(), Some(1));

    // How the backend does is seen beside it.
    let insight = mesh.ok(&["get", "dataplane-insight", "gateway", "-o", "json"]);
    let insight: Value = serde_json::from_str(&insight).expect("JSON");
    let backend = &insight["openTelemetry"]["backends"][0];
    assert_eq!(backend["traces"]["state"], "ready", "{insight:#}");
}
