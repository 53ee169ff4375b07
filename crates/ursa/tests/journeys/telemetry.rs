//! What `ursa telemetry` says of a mesh under load, and an agent killed while its backend is away.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::collector::{Collector, free};
use crate::mesh::{Mesh, eventually, processes, ursa};

/// Spans of an order: each proxy on its way but the last has one where it comes in and one where it goes on.
const WHOLE: usize = 9;

/// What each proxy says through the control plane.
fn asked(mesh: &Mesh, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["telemetry"], arguments, &["--output", "json"]].concat();
    serde_json::from_str(&mesh.ok(&arguments)).unwrap()
}

fn traces(place: &Value) -> &Value {
    let backends = place["status"]["backends"].as_array();
    let of_traces = |backend: &&Value| backend["signal"] == "traces";
    backends.and_then(|all| all.iter().find(of_traces)).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn every_proxy_accounts_for_its_spans() {
    let mesh = Mesh::demo(&["--rps", "20"]);
    // Exact at every moment, under load too.
    let all = eventually("spans delivered by every proxy", async || {
        let all = asked(&mesh, &["status"]);
        for place in &all {
            let backends = place["status"]["backends"].as_array().into_iter().flatten();
            for backend in backends {
                assert_eq!(backend["ledger"]["difference"], 0, "{place:#}");
                assert_eq!(backend["ledger"]["dropped"], serde_json::json!({}), "{place:#}");
            }
        }
        let delivers = |place: &&Value| traces(place)["ledger"]["delivered"].as_u64() > Some(0);
        let counted = |place: &&Value| place["envoy"]["spansSent"].as_u64() > Some(0);
        (all.iter().filter(delivers).filter(counted).count() == 5).then_some(all)
    })
    .await;
    let names: Vec<_> = all.iter().map(|place| place["proxy"].as_str().unwrap()).collect();
    let demo = ["cart", "catalog", "frontend", "gateway", "payments"];
    assert_eq!(names, demo.map(|name| format!("default/{name}")));
    let shown = mesh.ok(&["telemetry", "status", "--verbose"]);
    for name in names {
        let estimate = format!("{name}: Envoy handed over ");
        assert!(shown.contains(&estimate), "{shown}");
        assert!(shown.contains(&format!("{name} ")), "{shown}");
    }

    let nobody = mesh.run(&["telemetry", "status", "--proxy", "nosuch"]);
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert_eq!(nobody.status.code(), Some(1), "{said}");
    assert!(said.contains("no proxy nosuch is connected"), "{said}");
    assert!(said.contains("default/frontend"), "{said}");

    // Each span of a trace was delivered by one proxy.
    let (trace, spans) = eventually("a whole trace", async || {
        let recent = mesh.get("/telemetry/traces?limit=100").await;
        for trace in recent["traces"].as_array().unwrap() {
            let id = trace["traceId"].as_str().unwrap();
            let whole = mesh.get(&format!("/telemetry/traces/{id}")).await;
            let spans = whole["spans"].as_array().unwrap();
            if spans.len() >= WHOLE {
                let ids = spans.iter().map(|span| span["spanId"].as_str().unwrap().to_owned());
                return Some((id.to_owned(), ids.collect::<BTreeSet<_>>()));
            }
        }
        None
    })
    .await;
    eventually("all spans are delivered", async || {
        let audited = asked(&mesh, &["audit", &trace]);
        let audits: Vec<_> =
            audited.iter().filter_map(|place| place["audit"]["spans"].as_array()).collect();
        assert_eq!(audits.len(), demo.len(), "{audited:#?}");
        let mut delivered = BTreeSet::new();
        for span in audits.into_iter().flatten() {
            let stages = span["stages"].as_array().unwrap();
            let seen: Vec<_> = stages.iter().filter_map(|stage| stage["stage"].as_str()).collect();
            assert_eq!(seen[..2], ["receive", "process"], "{span:#}");
            let last = stages.last()?;
            if last["stage"] == "deliver" && last["verdict"] == "delivered" {
                assert!(delivered.insert(span["spanId"].as_str()?.to_owned()), "twice: {span:#}");
            }
        }
        (delivered == spans).then_some(())
    })
    .await;
    let shown = mesh.ok(&["telemetry", "audit", &trace]);
    assert!(spans.iter().all(|span| shown.contains(span.as_str())), "{shown}");
}

/// `ursa dp` beside the demo's proxies; killed with this, and Envoy with it.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    status: String,
}

/// Where an agent finds what it needs, across its lives.
pub(crate) struct Home {
    control_plane: String,
    token: PathBuf,
    folder: TempDir,
}

impl Home {
    /// All that its agents have said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Takes a token for a proxy, good for a second, in the place of the other, and waits until it is so no more.
    pub(crate) async fn expire(&self, mesh: &Mesh, name: &str) {
        let out = self.token.to_str().unwrap();
        mesh.ok(&["token", "dataplane", "--name", name, "--valid-for", "1s", "--out", out]);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }

    pub(crate) fn new(mesh: &Mesh, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("ursa-").tempdir().unwrap();
        let token = folder.path().join("token");
        let out = token.to_str().unwrap();
        assert_eq!(mesh.ok(&["token", "dataplane", "--name", name, "--out", out]), "");
        assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // The demo's agents were told.
        let told = processes(mesh.data.path()).into_iter().find_map(|line| {
            Some(line.split_once("--cp ")?.1.split_whitespace().next()?.to_owned())
        });
        Self { control_plane: told.expect("an agent"), token, folder }
    }

    pub(crate) fn start(&self, name: &str) -> Agent {
        let status = format!("127.0.0.1:{}", free());
        let below = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::options().create(true).append(true).open(below("log")).unwrap();
        let child = ursa()
            .args(["dp", "--name", name, "--cp", &self.control_plane, "--status", &status])
            .args([Path::new("--token-file"), &self.token])
            .args([Path::new("--work-dir"), &below("w"), Path::new("--data-dir"), &below("data")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Agent { child, status }
    }
}

impl Agent {
    /// Its exit code, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap()?.code()
    }

    /// The account of its spans; null while it says nothing.
    fn ledger(&self) -> Value {
        let from = format!("http://{}", self.status);
        let arguments = ["telemetry", "status", "--output", "json", "--from", &from];
        let output = ursa().args(arguments).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        traces(&found[0])["ledger"].clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_killed_agent_loses_nothing_that_it_acknowledged() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let (inbound, service, grpc) = (free(), free(), free());
    mesh.apply(&format!(
        "type: Dataplane\nmesh: default\nname: extra\nnetworking:\n  address: 127.0.0.1\n  inbound:\n  \
         - {{port: {inbound}, servicePort: {service}, tags: {{kuma.io/service: extra, kuma.io/protocol: http}}}}\n\
         ---\ntype: MeshTrace\nmesh: default\nname: extra\nspec:\n  targetRef: {{kind: Dataplane, name: extra}}\n  default:\n    backends:\n    \
         - openTelemetry: {{endpoint: \"127.0.0.1:{grpc}\", retryPolicy: {{initialBackoff: 100ms, maxBackoff: 500ms}}}}\n"
    ));
    let home = Home::new(&mesh, "extra");
    let agent = home.start("extra");
    let client = reqwest::Client::new();
    // Nothing answers behind the proxy, which is as good a span as any.
    let received = eventually("spans that wait", async || {
        for _ in 0..10 {
            let answer = client.get(format!("http://127.0.0.1:{inbound}/")).send().await;
            answer.ok().filter(|answer| answer.status() == 503)?.bytes().await.ok()?;
        }
        agent.ledger()["received"].as_u64().filter(|received| *received >= 200)
    })
    .await;
    // Killed at once, with SIGKILL.
    drop(agent);

    let agent = home.start("extra");
    let recovered = eventually("what waited", async || {
        agent.ledger()["recovered"].as_u64().filter(|recovered| *recovered > 0)
    })
    .await;
    assert!(recovered >= received, "{recovered} of {received}");
    let collector = Collector::start_on(grpc, free()).await;
    let ledger = eventually("everything is delivered", async || {
        let ledger = agent.ledger();
        (ledger["delivered"] == recovered).then_some(ledger)
    })
    .await;
    assert_eq!(
        (&ledger["received"], &ledger["difference"]),
        (&recovered.into(), &0.into()),
        "{ledger}"
    );
    eventually("every span is there", async || {
        let spans = collector.spans();
        assert!(spans.iter().all(|span| span["resource"]["service.name"] == "extra"), "{spans:#?}");
        let ids: BTreeSet<_> = spans.iter().map(|span| span["spanId"].to_string()).collect();
        (ids.len() as u64 == recovered).then_some(())
    })
    .await;
}
