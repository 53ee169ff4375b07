//! A mesh of one proxy, whose policies come and go.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::setting::{Backends, KINDS, Setting};
use crate::bench::demo::Demo;
use crate::bench::process::{Process, pause};

/// How long a change of policies may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing may be under way until a change is there.
const QUIET: Duration = Duration::from_millis(150);

/// The mesh. Stopped when dropped.
pub(super) struct Mesh {
    demo: Demo,
    address: SocketAddr,
    backends: Backends,
    setting: Option<Setting>,
    _files: tempfile::TempDir,
}

impl Mesh {
    /// Starts it before an application, with backends for what policies will send.
    pub(super) fn start(
        ursa: &Path,
        application: SocketAddr,
        backends: Backends,
    ) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let resources = files.path().join("bench.yaml");
        let dataplane = json!({
            "type": "Dataplane", "mesh": "default", "name": "bench",
            "networking": {"address": "127.0.0.1", "inbound": [{
                "port": 8080, "servicePort": application.port(),
                "tags": {"kuma.io/service": "bench", "kuma.io/protocol": "http"}}]}});
        std::fs::write(&resources, format!("type: Mesh\nname: default\n---\n{dataplane}\n"))?;
        let demo = Demo::start(ursa, &["-f", &resources.to_string_lossy()])?;
        // The port was free when it was chosen.
        let dataplane = demo.get("/meshes/default/dataplanes/bench")?;
        let port = dataplane.pointer("/networking/inbound/0/port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).context("no inbound")?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { demo, address, backends, setting: None, _files: files })
    }

    /// Where the proxy listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The agent and its Envoy.
    pub(super) fn proxy(&self) -> anyhow::Result<(Process, Process)> {
        let agents = self.demo.process().children();
        let mut pairs = agents
            .into_iter()
            .flat_map(|agent| agent.children().into_iter().map(move |envoy| (agent, envoy)));
        pairs.find(|(_, envoy)| envoy.name() == "envoy").context("there is no Envoy")
    }

    /// Brings these policies about, and no others.
    pub(super) fn set(&mut self, setting: Setting) -> anyhow::Result<()> {
        if self.setting == Some(setting) {
            return Ok(());
        }
        let policies = setting.policies(&self.backends);
        let before = self.setting.map(|setting| setting.policies(&self.backends));
        let before = before.unwrap_or_default();
        for (kind, path) in KINDS {
            let has = |policies: &[(&str, Value)]| policies.iter().any(|(of, _)| *of == kind);
            if has(&before) && !has(&policies) {
                self.demo.delete(&format!("/meshes/default/{path}/bench"))?;
            }
        }
        let documents: Vec<String> =
            policies.iter().map(|(_, policy)| policy.to_string()).collect();
        if !documents.is_empty() {
            self.demo.apply(&documents.join("\n---\n"))?;
        }
        self.setting = Some(setting);
        self.settle()
    }

    /// Waits until the proxy has acknowledged what it was sent, and is sent no more.
    fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut since = Instant::now();
        let mut before = Value::Null;
        while Instant::now() < deadline {
            let mut list = self.demo.get("/dataplanes+insights")?;
            let types = list["items"][0]["types"].take();
            let all = types.as_object().context("the proxy is not there")?;
            for (name, state) in all {
                ensure!(state["nack"].is_null(), "the proxy refuses {name}: {}", state["nack"]);
            }
            if before != types || all.values().any(|state| state["sent"] != state["acked"]) {
                since = Instant::now();
                before = types;
            } else if since.elapsed() > QUIET {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("the proxy did not acknowledge its policies within {PATIENCE:?}")
    }
}
