//! A mesh of two proxies, whose policy changes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};

use super::comparison::Side;
use crate::bench::demo::Demo;
use crate::bench::process::Process;

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
        let port = demo.port("client", "/networking/outbound/0/port")?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { demo, address, backend, policy: Value::Null, _files: files })
    }

    /// Where requests go: the first proxy's outbound.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Both Envoys.
    pub(super) fn envoys(&self) -> anyhow::Result<Vec<Process>> {
        let envoys: Vec<Process> =
            self.demo.proxies().into_iter().map(|(_, envoy)| envoy).collect();
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
        self.demo.settle()
    }
}
