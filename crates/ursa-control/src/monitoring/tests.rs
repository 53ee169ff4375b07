use super::http_sd::group;
use super::*;
use crate::testing::snapshots;

const MESH: &str = "
type: Mesh
name: default
---
{type: Dataplane, mesh: default, name: web-1, labels: {tier: front, kuma.io/workload: web}, networking: {address: 10.0.0.1,
  inbound: [{port: 80, tags: {kuma.io/service: web, kuma.io/protocol: http}}]}}
---
{type: Dataplane, mesh: default, name: db-1, networking: {address: 'fd00::1', inbound: [{port: 81, tags: {kuma.io/service: db}}]}}
---
{type: Dataplane, mesh: default, name: cache-1, networking: {address: 10.0.0.3, inbound: [{port: 82, tags: {kuma.io/service: cache}}]}}
---
type: MeshMetric
mesh: default
name: all
spec:
  default:
    backends:
    - prometheus: {clientId: second, port: 5671}
    - prometheus: {path: /stats}
---
type: MeshMetric
mesh: default
name: db
spec:
  targetRef: {kind: MeshService, name: db}
  default:
    backends:
    - prometheus: {clientId: second, tls: {mode: ProvidedTLS}}
---
type: MeshMetric
mesh: default
name: cache
spec:
  targetRef: {kind: MeshService, name: cache}
  default:
    backends:
    - openTelemetry: {endpoint: 'collector:4317'}
    - prometheus: {tls: {mode: ActiveMTLSBackend}}
";

fn addresses(client: Client<'_>) -> Vec<String> {
    let targets = targets(&snapshots(MESH), "east", client);
    targets.iter().map(|it| format!("{}://{}{}", it.scheme, it.address, it.path)).collect()
}

#[test]
fn each_prometheus_is_told_of_its_endpoints() {
    let second = ["https://[fd00::1]:5670/metrics", "http://10.0.0.1:5671/metrics"];
    assert_eq!(addresses(Client::Named("second")), second);
    assert_eq!(addresses(Client::Named("prometheus-0.example")), ["http://10.0.0.1:5670/stats"]);
    let every_proxy = ["https://[fd00::1]:5670/metrics", "http://10.0.0.1:5670/stats"];
    assert_eq!(addresses(Client::Unnamed), every_proxy);
}

#[test]
fn a_target_says_who_it_is() {
    let targets = targets(&snapshots(MESH), "east", Client::Named("any"));
    let [target] = targets.as_slice() else { panic!("{targets:?}") };
    let group = serde_json::to_value(group(target)).unwrap();
    let expected = serde_json::json!({"targets": ["10.0.0.1:5670"], "labels": {
        "__meta_kuma_mesh": "default",
        "__meta_kuma_dataplane": "web-1",
        "__meta_kuma_service": "web",
        "__meta_kuma_label_kuma_io_protocol": "http",
        "__meta_kuma_label_kuma_io_workload": "web",
        "__meta_kuma_label_tier": "front",
        "__metrics_path__": "/stats",
        "__scheme__": "http",
        "instance": "web-1",
    }});
    assert_eq!(group, expected);
}

#[test]
fn the_version_is_another_one_whenever_anything_changes() {
    let version =
        |text: &str| Assignments::of(&targets(&snapshots(text), "east", Client::Named(""))).version;
    assert_eq!(version(MESH), version(MESH));
    assert_ne!(version(MESH), version(&MESH.replace("tier: front", "tier: back")));
    assert_ne!(version(MESH), version("{type: Mesh, name: default}"));
    assert!(!version("{type: Mesh, name: default}").is_empty());
}
