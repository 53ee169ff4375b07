//! A running demo mesh for tests: real Envoys, real processes, ports chosen by the system.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long anything awaited may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// One mesh at a time: sixteen processes are enough for two cores.
static ONE: Mutex<()> = Mutex::new(());

/// `ursa up`, running.
#[derive(Debug)]
pub(crate) struct Mesh {
    up: Child,
    /// The API's address, `http://127.0.0.1:PORT`.
    pub(crate) server: String,
    /// Resources, keys and logs.
    pub(crate) data: TempDir,
    log: Option<JoinHandle<String>>,
    _one: MutexGuard<'static, ()>,
}

impl Mesh {
    /// Starts the demo and waits until its proxies are ready.
    pub(crate) fn demo(arguments: &[&str]) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut up = ursa()
            .args(["up", "--free-ports", "--data-dir"])
            .arg(data.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start ursa up");
        let mut lines =
            BufReader::new(up.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = String::new();
        let server = lines.by_ref().find_map(|line| {
            said.push_str(&line);
            said.push('\n');
            let url = line.trim().strip_prefix("live view")?.trim().strip_suffix("/gui")?;
            Some(url.to_owned())
        });
        let server = server.unwrap_or_else(|| panic!("ursa up did not come up:\n{said}"));
        // Keep reading, so that the process never blocks on a full pipe.
        let log = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
        Self { up, server, data, log: Some(log), _one: one }
    }

    /// The `ursa` command against this mesh.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        ursa().args(arguments).env("URSA_SERVER", &self.server).output().expect("run ursa")
    }

    /// As `run`, as part of a trace.
    pub(crate) fn traced(&self, traceparent: &str, arguments: &[&str]) {
        let mut command = ursa();
        command.args(arguments).env("URSA_SERVER", &self.server).env("TRACEPARENT", traceparent);
        let output = command.output().expect("run ursa");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ursa {arguments:?} failed: {error}");
    }

    /// As `run`, for a command that must succeed; returns what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ursa {arguments:?} failed: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Applies a document.
    pub(crate) fn apply(&self, yaml: &str) {
        let file = self.data.path().join("applied.yaml");
        std::fs::write(&file, yaml).expect("write the document");
        self.ok(&["apply", "-f", &file.to_string_lossy()]);
    }

    /// GET a JSON document of the API.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = reqwest::get(format!("{}{path}", self.server)).await.expect("an answer");
        let status = response.status();
        let body = response.text().await.expect("a body");
        assert!(status.is_success(), "GET {path}: {status}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Where the demo's gateway takes requests.
    pub(crate) async fn gateway(&self) -> String {
        let dataplane = self.get("/meshes/default/dataplanes/gateway").await;
        let port = &dataplane["networking"]["inbound"][0]["port"];
        format!("http://127.0.0.1:{port}")
    }

    /// Waits until the agent of the demo's gateway has nothing left to deliver of what it received.
    pub(crate) async fn gateway_delivered(&self) {
        eventually("the gateway's agent delivered all", async || {
            let asked = self.get("/telemetry/pipelines?mesh=default&proxy=gateway").await;
            let backends = asked[0]["status"]["backends"].as_array()?;
            let left = |backend: &Value| {
                let ledger = &backend["ledger"];
                ledger["waiting"] != 0 || ledger["inFlight"] != 0
            };
            (!backends.iter().any(left)).then_some(())
        })
        .await;
    }

    /// `ursa up` and all that it started, and what those started.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut all = Vec::new();
        let mut next = vec![self.up.id()];
        while let Some(pid) = next.pop() {
            let tasks =
                std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children =
                    std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                next.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            }
            all.push(pid);
        }
        all
    }

    /// Sends a signal to `ursa up` and waits for its end. Returns also what it said.
    pub(crate) fn stop(mut self, signal: &str) -> (ExitStatus, String) {
        let status = self.signal(signal);
        let said = self.log.take().expect("stopped once").join().expect("the log's reader");
        (status, said)
    }

    fn signal(&mut self, signal: &str) -> ExitStatus {
        let sent =
            Command::new("kill").args([signal, &self.up.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        self.up.wait().expect("ursa up's end")
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if self.log.is_some() && matches!(self.up.try_wait(), Ok(None)) {
            self.signal("-TERM");
        }
    }
}

/// The program under test.
pub(crate) fn ursa() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ursa"))
}

/// Waits until `look` sees something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The processes whose command line names `needle`.
pub(crate) fn processes(needle: &Path) -> Vec<String> {
    let needle = needle.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&needle) {
            found.push(line);
        }
    }
    found
}

/// A peer's program in the user's cache; `variable` says otherwise.
pub(crate) fn peer(variable: &str, below: &str) -> PathBuf {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            let cache = match std::env::var_os("XDG_CACHE_HOME") {
                Some(cache) => PathBuf::from(cache),
                None => PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache"),
            };
            cache.join("ursa").join(below)
        }
    };
    assert!(path.is_file(), "{} is missing: run `cargo xtask peers`", path.display());
    path
}
