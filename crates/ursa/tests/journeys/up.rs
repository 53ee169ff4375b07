//! `ursa up` as a new user meets it: real Envoys, a whole trace, a clean end.

use std::process::Stdio;

use serde_json::Value;

use crate::mesh::{Mesh, eventually, peer, processes, ursa};

fn check(arguments: &[&str]) -> (bool, Value, String) {
    let data = tempfile::tempdir().unwrap();
    let output = ursa()
        .args(["up", "--check", "--free-ports", "--data-dir"])
        .arg(data.path())
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("standard output is not the report alone: {error}\n{said}"));
    assert_eq!(processes(data.path()), Vec::<String>::new(), "nothing is left running");
    (output.status.success(), report, said)
}

#[test]
fn check_reports_one_whole_trace_on_the_newest_and_the_oldest_envoy() {
    for version in ["1.40.0", "1.36.4"] {
        let envoy = peer(&format!("URSA_ENVOY_{version}"), &format!("envoy/{version}/envoy"));
        let (ok, report, said) = check(&["--envoy", &envoy.to_string_lossy()]);
        assert!(ok, "{report:#}\n{said}");
        assert_eq!(report["versions"]["envoy"], version);
        assert_eq!(
            report["services"],
            serde_json::json!(["cart", "catalog", "frontend", "gateway", "payments"])
        );
        assert_eq!(report["missing"], serde_json::json!([]));
        assert!(report["spans"].as_u64() >= Some(9), "{report:#}");
        let rss = report["rss_bytes"].as_object().unwrap();
        for process in ["control-plane", "agent-cart", "envoy-cart", "demo-cart"] {
            assert!(rss[process].as_u64() > Some(1 << 20), "{process}: {report:#}");
        }
    }
}

#[test]
fn check_says_what_is_missing_when_nothing_is_asked_for() {
    let (ok, report, said) = check(&["--rps", "0", "--timeout", "8"]);
    assert!(!ok);
    assert_eq!(report["ok"], false);
    assert_eq!(report["seconds_to_first_trace"], Value::Null);
    assert_eq!(report["missing"].as_array().unwrap().len(), 8);
    assert!(said.contains("error: no whole trace within 8 s; missing: "), "{said}");
}

#[tokio::test]
async fn an_end_of_any_kind_leaves_nothing_and_up_works_again() {
    // The same folder each time: what a killed one left must not be in the way of the next.
    for signal in ["-KILL", "-INT"] {
        let mesh = Mesh::demo(&["--rps", "5"]);
        let program = env!("CARGO_BIN_EXE_ursa");
        let data = mesh.data.path().to_owned();
        assert!(!processes(&data).is_empty());
        let ours: Vec<_> = mesh.processes();
        assert!(
            ours.len() >= 16,
            "control plane, five agents, five Envoys, five services: {ours:?}"
        );
        let (_, said) = mesh.stop(signal);
        eventually(
            &format!("the end of all processes of {program} after {signal}: {said}"),
            async || ours.iter().all(|pid| !alive(*pid)).then_some(()),
        )
        .await;
    }
}

#[test]
fn a_port_in_use_is_said_with_a_way_out() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let offset = port.wrapping_sub(5681);
    let data = tempfile::tempdir().unwrap();
    let output = ursa()
        .args(["up", "--no-demo", "--port-offset", &offset.to_string(), "--data-dir"])
        .arg(data.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("port {port}, for the API, cannot be used")), "{said}");
    assert!(said.contains("--free-ports"), "{said}");
}

#[tokio::test]
async fn without_the_demo_the_control_plane_stands_alone() {
    let mesh = Mesh::demo(&["--no-demo"]);
    assert_eq!(mesh.get("/").await["product"], "Ursa");
    assert_eq!(mesh.ok(&["get", "dataplanes"]), "no dataplanes found\n");
    let (status, _) = mesh.stop("-TERM");
    assert!(status.success());
}

fn alive(pid: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}
