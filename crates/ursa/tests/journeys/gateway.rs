//! A gateway as people run it: one file, a real Collector behind it, and what may happen to both.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::collector::Collector;
use crate::mesh::{eventually, ursa};

/// The trace of what is sent.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// `ursa gateway`, running; killed with this.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    file: PathBuf,
    status: String,
}

impl Gateway {
    /// Starts it with `yaml` as its file in `folder`, and waits until it is ready. Port 0 everywhere.
    pub(crate) async fn start(folder: &Path, yaml: &str) -> Self {
        let file = folder.join("gateway.yaml");
        std::fs::write(&file, yaml).unwrap();
        let mut child = ursa()
            .args(["gateway", "--threads", "1", "-f"])
            .arg(&file)
            .current_dir(folder)
            .env("TOKEN", "top-secret-token")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line));
        });
        let mut gateway = Self { child, log, file, status: String::new() };
        gateway.status = gateway.said("status=", "gateway is ready").await;
        gateway
    }

    /// What stands behind `field` in the latest line of the log that holds `words`.
    async fn said(&self, field: &str, words: &str) -> String {
        eventually(words, async || {
            let log = self.log.lock().unwrap();
            let line = log.iter().rev().find(|line| line.contains(words))?;
            let value = line.split_once(field).map_or(line.as_str(), |(_, rest)| rest);
            Some(value.split_whitespace().next().unwrap_or_default().to_owned())
        })
        .await
    }

    /// The address of a receiver.
    pub(crate) async fn receiver(&self, name: &str) -> String {
        self.said("listen=", &format!("receiving receiver=\"{name}\"")).await
    }

    /// Sends spans of [`TRACE`] with these ids; whether they were acknowledged.
    async fn send(&self, ids: impl IntoIterator<Item = u32>) -> bool {
        let span = |id: u32| json!({"traceId": TRACE, "spanId": format!("{:016x}", id + 1), "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"});
        let spans: Vec<_> = ids.into_iter().map(span).collect();
        let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
        let url = format!("http://{}/v1/traces", self.receiver("otlp_http").await);
        let sent = reqwest::Client::new().post(url).json(&body).send().await;
        sent.is_ok_and(|answer| answer.status().is_success())
    }

    /// Asks it.
    pub(crate) fn telemetry(&self, arguments: &[&str]) -> Output {
        let from = format!("http://{}", self.status);
        ursa().arg("telemetry").args(arguments).args(["--from", &from]).output().unwrap()
    }

    /// The ledger of a backend's traces.
    pub(crate) fn ledger(&self, backend: &str) -> Value {
        let output = self.telemetry(&["status", "--output", "json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let backends = found[0]["status"]["backends"].as_array().cloned().unwrap_or_default();
        let of = |one: &&Value| one["name"] == backend && one["signal"] == "traces";
        backends.iter().find(of).map(|one| one["ledger"].clone()).unwrap_or_default()
    }

    fn change(&self, yaml: &str) {
        std::fs::write(&self.file, yaml).unwrap();
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn to(endpoint: &str) -> String {
    format!(
        "storage: ./state\nstatus: 127.0.0.1:0\nreceivers:\n- otlpHttp: {{listen: \"127.0.0.1:0\"}}\n- otlpGrpc: {{listen: \"127.0.0.1:0\"}}\n\
         exporters:\n- name: collector\n  openTelemetry: {{endpoint: \"{endpoint}\", retryPolicy: {{initialBackoff: 100ms, maxBackoff: 500ms}}}}\n"
    )
}

/// How many different spans arrived.
fn arrived(collector: &Collector) -> usize {
    let spans = collector.spans();
    let ids: std::collections::BTreeSet<_> =
        spans.iter().filter_map(|span| span["spanId"].as_str()).collect();
    ids.len()
}

/// The text with what differs from run to run masked: times, ports, folders.
fn masked(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let word = |word: &str| -> String {
        let digits = |c: char| c.is_ascii_digit();
        if word.contains("127.0.0.1:") {
            word.split("127.0.0.1:").next().unwrap_or_default().to_owned() + "127.0.0.1:PORT"
        } else if word.starts_with(digits) && word.ends_with('Z') {
            "TIME".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_comes_by_http_and_by_grpc_reaches_a_collector_and_is_accounted_for() {
    let (collector, folders) =
        (Collector::start().await, [(); 2].map(|()| TempDir::new().unwrap()));
    let second = Gateway::start(folders[0].path(), &to(&collector.grpc())).await;
    let first = Gateway::start(folders[1].path(), &to(&second.receiver("otlp_grpc").await)).await;
    assert!(first.send(0..50).await && first.send(50..100).await);
    eventually("all spans", async || (arrived(&collector) == 100).then_some(())).await;
    for gateway in [&first, &second] {
        let ledger = eventually("an even ledger", async || {
            let ledger = gateway.ledger("collector");
            (ledger["delivered"] == 100).then_some(ledger)
        })
        .await;
        assert_eq!(
            (&ledger["received"], &ledger["difference"]),
            (&100.into(), &0.into()),
            "{ledger}"
        );
    }
    let audit = second.telemetry(&["audit", TRACE]);
    assert!(audit.status.success(), "{audit:?}");
    // Several batches may share an outcome.
    let audit = masked(&audit.stdout).replace("between TIME and TIME", "at TIME");
    let head: Vec<_> = audit.lines().take(5).collect();
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("gateway_status", masked(&second.telemetry(&["status"]).stdout));
        insta::assert_snapshot!("gateway_audit", head.join("\n"));
    });
    let unknown = second.telemetry(&["audit", &"ab".repeat(16)]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[tokio::test]
async fn another_file_takes_effect_while_it_runs_and_a_bad_one_changes_nothing() {
    let (collector, folder) = (Collector::start().await, TempDir::new().unwrap());
    let good = to(&collector.http());
    let gateway = Gateway::start(folder.path(), &good).await;
    let address = gateway.receiver("otlp_http").await;
    assert!(gateway.send(0..10).await);

    let spans = folder.path().join("spans.json");
    let dump = format!("{good}- {{name: dump, file: {{path: {}}}}}\n", spans.display());
    gateway.change(&dump.replace(
        "- otlpGrpc",
        "- {name: second, otlpHttp: {listen: \"127.0.0.1:0\"}}\n- otlpGrpc",
    ));
    gateway.said("", "the file is in effect").await;
    gateway.receiver("second").await;
    assert_eq!(
        gateway.receiver("otlp_http").await,
        address,
        "what did not change keeps its socket"
    );
    assert!(gateway.send(10..20).await);
    eventually("both backends", async || {
        let dumped = std::fs::read_to_string(&spans).unwrap_or_default();
        (arrived(&collector) == 20 && dumped.contains("0000000000000014")).then_some(())
    })
    .await;

    gateway.change(&good.replace("receivers", "recievers"));
    gateway.signal("-HUP");
    gateway.said("", "the gateway goes on as before").await;
    let said = gateway.log.lock().unwrap().join("\n");
    assert!(
        said.contains("gateway.yaml:3:1: recievers: unknown field")
            && said.contains("did you mean `receivers`?"),
        "{said}"
    );
    assert!(gateway.send(20..30).await);
    eventually("the rest", async || (arrived(&collector) == 30).then_some(())).await;
    let metrics = reqwest::get(format!("http://{}/metrics", gateway.status)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("ursa_gateway_reloads_total{result=\"applied\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let (collector, folder) = (Collector::start().await, TempDir::new().unwrap());
    let mut gateway = Gateway::start(folder.path(), &to("127.0.0.1:1")).await;
    for batch in 0..10 {
        assert!(gateway.send(batch * 10..(batch + 1) * 10).await);
    }
    gateway.signal("-KILL");
    gateway.child.wait().unwrap();
    let gateway = Gateway::start(folder.path(), &to(&collector.grpc())).await;
    eventually("all spans", async || (arrived(&collector) == 100).then_some(())).await;
    let ledger = eventually("an even ledger", async || {
        let ledger = gateway.ledger("collector");
        (ledger["delivered"] == 100).then_some(ledger)
    })
    .await;
    assert_eq!((&ledger["recovered"], &ledger["difference"]), (&100.into(), &0.into()), "{ledger}");
    gateway.signal("-TERM");
    gateway.said("", "stopping").await;
}

#[tokio::test]
async fn a_backend_is_tried_step_by_step() {
    let (collector, folder) = (Collector::start().await, TempDir::new().unwrap());
    let file = folder.path().join("gateway.yaml");
    let test = |endpoint: &str, more: &[&str]| {
        std::fs::write(&file, to(endpoint)).unwrap();
        ursa().args(["telemetry", "test", "-f"]).arg(&file).args(more).output().unwrap()
    };
    let well = test(&collector.grpc(), &[]);
    let said = String::from_utf8_lossy(&well.stdout);
    assert!(
        well.status.success() && said.contains("✓ traces") && said.contains("✓ logs"),
        "{said}"
    );
    let refused = test("127.0.0.1:1", &[]);
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(refused.status.code() == Some(1) && said.contains("✗ tcp"), "{said}");
    let refused = test("127.0.0.1:1", &["--output", "json"]);
    let report: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&report[0]["name"], &report[0]["ok"]), (&"collector".into(), &false.into()));
    let unknown = test("127.0.0.1:1", &["--name", "other"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn files_are_checked_with_the_exit_codes_that_scripts_rely_on() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gateway.yaml");
    let run = |arguments: &[&str]| ursa().args(arguments).arg("-f").arg(&file).output().unwrap();
    let both = |code| {
        for arguments in [&["gateway", "--check"][..], &["validate"]] {
            let output = run(arguments);
            assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        }
    };
    both(2);
    std::fs::write(&file, to("collector:4317")).unwrap();
    both(0);
    let applied = run(&["apply"]);
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.code() == Some(1) && said.contains("this is a gateway file"), "{said}");
    std::fs::write(&file, to("collector:431700")).unwrap();
    both(1);
    let said = run(&["gateway"]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.code() == Some(1) && words.contains("is not a port"), "{words}");
}

#[test]
fn the_examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gateway");
    let output =
        ursa().args(["validate", "--output", "json", "-f"]).arg(&examples).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["violations"], &found["warnings"]), (&json!([]), &json!([])), "{found:#}");
    let files = std::fs::read_dir(examples).unwrap().count();
    assert_eq!(found["validGateways"].as_array().unwrap().len(), files, "{found:#}");
}
