//! A mesh of one proxy, whose policies come and go.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::setting::{Backends, KINDS, Setting};
use crate::bench::demo::Demo;
use crate::bench::process::Process;

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
        let port = demo.port("bench", "/networking/inbound/0/port")?;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { demo, address, backends, setting: None, _files: files })
    }

    /// Where the proxy listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The agent and its Envoy.
    pub(super) fn proxy(&self) -> anyhow::Result<(Process, Process)> {
        self.demo.proxies().into_iter().next().context("there is no Envoy")
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
        self.demo.settle()
    }
}
