//! A mesh of two proxies, whose policy changes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::comparison::Side;
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
    backend: SocketAddr,
    policy: Value,
    _files: tempfile::TempDir,
}

impl Mesh {
    /// Starts it before an application, with a backend for its spans.
    pub(super) fn start(
        ursa: &Path,
        application: SocketAddr,
        backend: SocketAddr,
    ) -> anyhow::Result<Self> {
        let files = tempfile::tempdir()?;
        let resources = files.path().join("bench.yaml");
        let inbound = |service: &str, port: u16| {
            json!([{"port": port, "servicePort": application.port(),
                    "tags": {"kuma.io/service": service, "kuma.io/protocol": "http"}}])
        };
        let server = json!({
            "type": "Dataplane", "mesh": "default", "name": "server",
            "networking": {"address": "127.0.0.1", "inbound": inbound("server", 8080)}});
        let client = json!({
            "type": "Dataplane", "mesh": "default", "name": "client",
            "networking": {
                "address": "127.0.0.1", "inbound": inbound("client", 8081),
                "outbound": [{"port": 9090, "tags": {"kuma.io/service": "server"}}]}});
        let documents = format!("type: Mesh\nname: default\n---\n{server}\n---\n{client}\n");
        std::fs::write(&resources, documents)?;
        let demo = Demo::start(ursa, &["-f", &resources.to_string_lossy()])?;
        // The port was free when it was chosen.
        let dataplane = demo.get("/meshes/default/dataplanes/client")?;
        let port = dataplane.pointer("/networking/outbound/0/port").and_then(Value::as_u64);
        let port = port.and_then(|port| u16::try_from(port).ok()).context("no outbound")?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { demo, address, backend, policy: Value::Null, _files: files })
    }

    /// Where requests go: the first proxy's outbound.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Both Envoys.
    pub(super) fn envoys(&self) -> anyhow::Result<Vec<Process>> {
        let agents = self.demo.process().children();
        let started = agents.into_iter().flat_map(Process::children);
        let envoys: Vec<Process> = started.filter(|one| one.name() == "envoy").collect();
        ensure!(envoys.len() == 2, "{} Envoys", envoys.len());
        Ok(envoys)
    }

    /// Brings this policy about.
    pub(super) fn set(&mut self, side: &Side) -> anyhow::Result<()> {
        let policy = side.policy(self.backend);
        if self.policy == policy {
            return Ok(());
        }
        self.demo.apply(&policy.to_string())?;
        self.policy = policy;
        self.settle()
    }

    /// Waits until both proxies have acknowledged what they were sent, and are sent no more.
    fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut since = Instant::now();
        let mut before = Value::Null;
        while Instant::now() < deadline {
            let mut list = self.demo.get("/dataplanes+insights")?;
            let items = list["items"].take();
            let proxies = items.as_array().context("no list of proxies")?;
            let types: Value = proxies.iter().map(|proxy| proxy["types"].clone()).collect();
            let states = proxies.iter().filter_map(|proxy| proxy["types"].as_object()).flatten();
            let mut all_acknowledged = true;
            for (name, state) in states {
                ensure!(state["nack"].is_null(), "a proxy refuses {name}: {}", state["nack"]);
                all_acknowledged &= state["sent"] == state["acked"];
            }
            if before != types || !all_acknowledged {
                since = Instant::now();
                before = types;
            } else if since.elapsed() > QUIET {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("the proxies did not acknowledge their policy within {PATIENCE:?}")
    }
}
