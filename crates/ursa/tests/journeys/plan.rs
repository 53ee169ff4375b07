//! What a change would do, and that it then does it: on a mesh of real Envoys, with rates measured on them.

use serde_json::Value;

use crate::mesh::{Mesh, eventually};

const LESS: &str = "type: MeshTrace
mesh: default
name: less
spec:
  targetRef: {kind: Dataplane, name: gateway}
  default:
    backends:
      - openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: ursa}}
    sampling: {random: 10}
---
type: MeshAccessLog
mesh: default
name: half
spec:
  targetRef: {kind: Dataplane, name: gateway}
  from:
    - default: {backends: [{sample: 50, file: {path: /nowhere/at/all}}]}
";

/// The exit code and the answer of a plan.
fn plan(mesh: &Mesh, arguments: &[&str]) -> (Option<i32>, Value) {
    let arguments = [&["plan", "-o", "json"], arguments].concat();
    let output = mesh.run(&arguments);
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), answer)
}

/// Waits until the gateway has served some requests.
async fn traffic(mesh: &Mesh) {
    eventually("traffic", async || {
        let pipelines: Value = mesh.get("/telemetry/pipelines?proxy=gateway").await;
        let requests = pipelines[0]["envoy"]["requests"].as_object()?;
        requests.values().any(|count| count.as_u64() > Some(20)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plan_says_what_a_change_then_does() {
    let mesh = Mesh::demo(&[]);
    traffic(&mesh).await;
    let file = mesh.data.path().join("less.yaml");
    std::fs::write(&file, LESS).expect("a file");
    let file = file.to_string_lossy();

    let (code, answer) = plan(&mesh, &["-f", &file]);
    assert_eq!(code, Some(2), "{answer:#}");
    assert_eq!(
        (&answer["lookedAt"], answer["proxies"].as_array().map(Vec::len)),
        (&5.into(), Some(1))
    );
    let gateway = &answer["proxies"][0];
    let by_path = |path: &str| {
        let mut values = gateway["values"].as_array().into_iter().flatten();
        values.find(|value| value["path"] == path).unwrap_or_else(|| panic!("{path}: {gateway:#}"))
    };
    let random = by_path("sampling.random");
    assert_eq!((&random["before"]["value"], &random["after"]["value"]), (&100.into(), &10.into()));
    assert_eq!(random["after"]["origin"]["place"]["line"], 9);
    assert_eq!(random["after"]["origin"]["file"], *file);
    assert_eq!(gateway["envoy"]["accepts"], true, "{gateway:#}");
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{gateway:#}"));
    assert_eq!(gateway["series"], Value::Null, "metrics stay as they are: {gateway:#}");
    let (spans, lines) = (&gateway["estimate"]["spans"], &gateway["estimate"]["logLines"]);
    assert!(number(&spans["before"]) > 1.0, "{spans}");
    assert!(
        (number(&spans["after"]) * 10.0 / number(&spans["before"]) - 1.0).abs() < 0.01,
        "{spans}"
    );
    assert!(number(&lines["after"]) > 1.0 && number(&lines["before"]) == 0.0, "{lines}");

    // Nothing was stored; it is once it is applied, and then there is nothing to plan.
    assert!(!mesh.ok(&["get", "meshtraces"]).contains("less"));
    let text = mesh.run(&["plan", "-f", &file, "--rates", "0", "--validate", "0"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("MeshTrace sampling.random: 100 → 10"), "{text}");
    assert!(text.contains("~ RouteConfiguration inbound:"), "{text}");
    mesh.ok(&["apply", "-f", &file]);
    let (code, answer) = plan(&mesh, &["-f", &file]);
    assert_eq!((code, answer["proxies"].as_array().map(Vec::len)), (Some(0), Some(0)));

    // Going back is planned as well; what is wrong, or not there, is no plan.
    let (code, answer) = plan(&mesh, &["--delete", "-f", &file, "--rates", "0"]);
    assert_eq!((code, &answer["changes"][1]["action"]), (Some(2), &"deleted".into()));
    for wrong in [&["--delete", "meshtrace", "none"][..], &["-f", "/nowhere.yaml"], &[]] {
        assert_eq!(plan(&mesh, wrong).0, Some(1), "{wrong:?}");
    }
}

#[tokio::test]
async fn series_are_counted_by_those_who_would_send_them() {
    let mesh = Mesh::demo(&[]);
    traffic(&mesh).await;
    let policy = |profile: &str| {
        let file = mesh.data.path().join(format!("{profile}.yaml"));
        let text = format!(
            "type: MeshMetric\nmesh: default\nname: planned\nspec:\n  targetRef: {{kind: Dataplane, name: gateway}}\n  default:\n    \
             sidecar: {{profiles: {{appendProfiles: [{{name: {profile}}}]}}, includeUnused: true}}\n    \
             backends: [{{prometheus: {{port: 35670, path: /metrics}}}}]\n"
        );
        std::fs::write(&file, text).expect("a file");
        file.to_string_lossy().into_owned()
    };
    let series = |answer: &Value| {
        let series = &answer["proxies"][0]["series"];
        let side = |side: &str| series[side].as_u64().unwrap_or_else(|| panic!("{answer:#}"));
        (side("before"), side("after"))
    };
    let (basic, all) = (policy("Basic"), policy("All"));
    let (_, answer) = plan(&mesh, &["-f", &basic, "--validate", "0"]);
    let (before, planned) = series(&answer);
    assert!(planned > before && planned > 20, "{before} → {planned}");

    mesh.ok(&["apply", "-f", &basic]);
    eventually("the policy at the gateway", async || {
        let state = mesh.ok(&["inspect", "proxy", "gateway"]);
        (!state.contains("not acknowledged")).then_some(())
    })
    .await;
    let (_, answer) = plan(&mesh, &["-f", &all, "--validate", "0"]);
    let (now, then) = series(&answer);
    // What the plan said is what there is; traffic may have made a few more since.
    assert!(now >= planned && now < planned + planned / 5, "{planned} were planned, {now} are");
    assert!(then > now + 100, "{now} → {then}");
    let (_, answer) = plan(&mesh, &["--delete", "meshmetric", "planned", "--validate", "0"]);
    assert_eq!(series(&answer).1, before, "{answer:#}");
}
