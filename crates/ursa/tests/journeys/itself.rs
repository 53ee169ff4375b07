//! What a control plane tells of itself, among real Envoys: its metrics, and traces of its own work.

use std::collections::BTreeSet;

use serde_json::Value;
use ursa_metrics::CONTROL_PLANE;

use crate::collector::Collector;
use crate::exposition::assert_shows;
use crate::mesh::{Mesh, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

const POLICY: &str = "type: MeshTrace
mesh: default
name: mine
spec:
  targetRef: {kind: Dataplane, name: cart}
  default:
    backends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: ursa}}}]
    sampling: {overall: 30}
";

#[tokio::test]
async fn the_catalogue_is_what_a_running_control_plane_shows() {
    let mesh = Mesh::demo(&[]);
    mesh.ok(&["get", "meshes"]);
    let shown = reqwest::get(format!("{}/metrics", mesh.server)).await.unwrap();
    assert_shows(&shown.text().await.unwrap(), CONTROL_PLANE, &["instance_id", "zone"]);
}

#[tokio::test]
async fn an_apply_is_one_trace_until_envoy_has_it() {
    let collector = Collector::start().await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("tracing.yaml");
    let text = format!(
        "sampling: 0\nbackends: [{{openTelemetry: {{endpoint: '{}'}}}}]\n",
        collector.grpc()
    );
    std::fs::write(&file, text).unwrap();
    let mesh = Mesh::demo(&["--tracing", &file.to_string_lossy()]);
    let policy = files.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    mesh.traced(&traceparent, &["apply", "-f", &policy.to_string_lossy()]);

    let named = |name: &str| {
        let spans = collector.spans();
        spans.into_iter().find(|span| span["traceId"] == TRACE && span["name"] == name)
    };
    let deliver = eventually("Envoy has it", async || named("deliver")).await;
    let mut child = deliver.clone();
    for name in ["generate", "plan", "POST /_apply"] {
        let parent = eventually(name, async || named(name)).await;
        assert_eq!(child["parentSpanId"], parent["spanId"], "{child:#}");
        child = parent;
    }
    assert_eq!(child["parentSpanId"], CALLER);
    assert_eq!(child["resource"]["service.name"], "ursa-control-plane");
    let said = |span: &Value, key: &str| {
        let all = span["attributes"].as_array().unwrap().iter();
        all.clone().find(|it| it["key"] == key).map(|it| it["value"]["stringValue"].clone())
    };
    assert_eq!(said(&deliver, "ursa.proxy").unwrap(), "cart");
    assert_eq!(said(&deliver, "ursa.result").unwrap(), "acknowledged");
    let traces: BTreeSet<_> =
        collector.spans().iter().map(|span| span["traceId"].to_string()).collect();
    assert_eq!(traces.len(), 1, "no other work is traced at a share of 0");
}
