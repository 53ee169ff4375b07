//! What collecting the metrics of a large proxy takes of its agent.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::demo::Demo;
use super::process::{Process, pause};
use super::statistics::median;
use crate::project::tell;

/// Clusters of the proxy; so many give some 10,000 statistics with a value.
const OUTBOUNDS: usize = 25;
/// What comes after the proxy's own port.
const FIRST_PORT: usize = 20_000;
/// How often it is looked whether something is there.
const PAUSE: Duration = Duration::from_millis(50);
/// How long it may take until it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// Scrapes an agent whose Envoy has many statistics.
pub(crate) fn run(ursa: &Path, scrapes: usize) -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let resources = files.path().join("large.yaml");
    let outbound: Vec<Value> = (0..OUTBOUNDS)
        .map(|n| json!({"port": FIRST_PORT + n, "tags": {"kuma.io/service": format!("service-{n}")}}))
        .collect();
    let dataplane = json!({
        "type": "Dataplane", "mesh": "default", "name": "large",
        "networking": {
            "address": "127.0.0.1",
            "inbound": [{"port": 8080, "servicePort": 8081, "tags": {"kuma.io/service": "large", "kuma.io/protocol": "http"}}],
            "outbound": outbound}});
    std::fs::write(&resources, format!("type: Mesh\nname: default\n---\n{dataplane}\n"))?;
    let demo = Demo::start(ursa, &["-f", &resources.to_string_lossy()])?;
    let agent = agent(&demo)?;
    let before = agent.resident()?;
    // Free when it is chosen.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    demo.apply(
        &json!({
            "type": "MeshMetric", "mesh": "default", "name": "all",
            "spec": {"targetRef": {"kind": "Mesh"}, "default": {
                "sidecar": {"includeUnused": true, "profiles": {"appendProfiles": [{"name": "All"}]}},
                "backends": [{"type": "Prometheus", "prometheus": {"port": port, "path": "/metrics"}}]}}})
        .to_string(),
    )?;
    let url = format!("http://127.0.0.1:{port}/metrics");
    let client = ureq::agent();
    let scrape = || -> anyhow::Result<String> {
        Ok(client.get(&url).call()?.into_body().with_config().limit(64 << 20).read_to_string()?)
    };
    let mut text = String::new();
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if let Ok(answer) = scrape() {
            text = answer;
            break;
        }
        pause(PAUSE);
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let mut milliseconds = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..scrapes {
        let begun = agent.cpu()?;
        scrape()?;
        milliseconds.push((agent.cpu()? - begun) * 1e3);
        resident.push(agent.resident()?);
    }
    tell(&format!(
        "scrape of {series} series, {} KiB   agent: {:.1} ms of CPU (median of {scrapes}; target: 20 ms for 10,000), \
         {:.1} MB resident, {:.1} MB at most (target: 20 MB), {:.1} MB before the policy",
        text.len() / 1024,
        median(&milliseconds),
        median(&resident) / 1e6,
        agent.peak()? / 1e6,
        before / 1e6,
    ));
    Ok(())
}

/// The agent of the one proxy.
fn agent(demo: &Demo) -> anyhow::Result<Process> {
    for process in demo.process().children() {
        if process.children().iter().any(|child| child.name() == "envoy") {
            return Ok(process);
        }
    }
    bail!("there is no Envoy")
}
