//! A running demo mesh, and its API.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;
use tempfile::TempDir;

use super::process::Process;

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
