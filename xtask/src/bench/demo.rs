//! A running demo mesh, and its API.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::process::{Process, pause};

/// How long a change of policies may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may be under way until a change is there.
const QUIET: Duration = Duration::from_millis(150);

/// `ursa up` with the demo. Stopped when dropped.
pub(crate) struct Demo {
    up: Child,
    server: String,
    agent: ureq::Agent,
    _data: TempDir,
}

impl Demo {
    /// Starts it and waits until its proxies are ready.
    pub(crate) fn start(ursa: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let mut up = Command::new(ursa)
            .args(["up", "--free-ports", "--data-dir"])
            .arg(data.path())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start ursa up")?;
        let mut lines = BufReader::new(up.stderr.take().context("standard error")?)
            .lines()
            .map_while(Result::ok);
        let server = lines
            .find_map(|line| {
                Some(line.trim().strip_prefix("live view")?.trim().strip_suffix("/gui")?.to_owned())
            })
            .context("ursa up did not come up")?;
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { up, server, agent: ureq::agent(), _data: data })
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut response = self.agent.get(format!("{}{path}", self.server)).call()?;
        Ok(response.body_mut().read_json()?)
    }

    /// The port of a Dataplane at `pointer`: it may be another than was written, which somebody else has.
    pub(crate) fn port(&self, dataplane: &str, pointer: &str) -> anyhow::Result<u16> {
        let dataplane = self.get(&format!("/meshes/default/dataplanes/{dataplane}"))?;
        let port = dataplane.pointer(pointer).and_then(Value::as_u64);
        port.and_then(|port| u16::try_from(port).ok()).context("there is no such port")
    }

    /// Agents with their Envoys.
    pub(crate) fn proxies(&self) -> Vec<(Process, Process)> {
        let agents = self.process().children().into_iter();
        let pairs =
            agents.flat_map(|agent| agent.children().into_iter().map(move |envoy| (agent, envoy)));
        pairs.filter(|(_, envoy)| envoy.name() == "envoy").collect()
    }

    /// Waits until all proxies have acknowledged what they were sent, and are sent no more.
    pub(crate) fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut since = Instant::now();
        let mut before = Value::Null;
        while Instant::now() < deadline {
            let mut list = self.get("/dataplanes+insights")?;
            let items = list["items"].take();
            let proxies = items.as_array().filter(|proxies| !proxies.is_empty());
            let types: Value = proxies
                .context("no proxy is there")?
                .iter()
                .map(|it| it["types"].clone())
                .collect();
            let states =
                types.as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
            let mut are_acknowledged = true;
            for (name, state) in states {
                ensure!(state["nack"].is_null(), "a proxy refuses {name}: {}", state["nack"]);
                are_acknowledged &= state["sent"] == state["acked"];
            }
            if before != types || !are_acknowledged {
                since = Instant::now();
                before = types;
            } else if since.elapsed() > QUIET {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("the proxies did not acknowledge their policies within {PATIENCE:?}")
    }

    /// The process that started all others.
    pub(crate) fn process(&self) -> Process {
        Process::new(self.up.id())
    }

    /// Deletes one resource, by its path.
    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.agent.delete(format!("{}{path}", self.server)).call()?;
        Ok(())
    }

    /// Applies documents.
    pub(crate) fn apply(&self, text: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({"documents": [{"text": text}]});
        self.agent.post(format!("{}/_apply", self.server)).send_json(&body)?;
        Ok(())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(Command::new("kill").arg(self.up.id().to_string()).status());
        drop(self.up.wait());
    }
}
