//! A policy change to the last acknowledgement.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::demo::Demo;
use super::statistics::{median, percentile};
use crate::project::tell;

/// How long one change may take before the benchmark gives up, in seconds.
const LONGEST: f64 = 10.0;

pub(crate) fn run(ursa: &Path, changes: usize) -> anyhow::Result<()> {
    let demo = Demo::start(ursa, &[])?;
    let mut milliseconds = Vec::new();
    let mut before = acknowledged(&demo)?;
    let proxies = before.len();
    for change in 0..changes {
        // A tag that Envoy writes: literals are the agent's.
        let header = format!("x-change-{change}");
        let policy = serde_json::json!({
            "type": "MeshTrace", "mesh": "default", "name": "all",
            "spec": {"targetRef": {"kind": "Mesh"}, "default": {
                "backends": [{"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend", "name": "ursa"}}}],
                "tags": [{"name": "change", "header": {"name": header}}]}}});
        let payments = serde_json::json!({
            "type": "MeshTrace", "mesh": "default", "name": "payments",
            "spec": {"targetRef": {"kind": "Dataplane", "labels": {"team": "money"}}, "default": {
                "tags": [{"name": "change", "header": {"name": header}}],
                "backends": [{"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend", "name": "ursa"}}}]}}});
        let began = SystemTime::now();
        demo.apply(&format!("{policy}\n---\n{payments}"))?;
        loop {
            let now = acknowledged(&demo)?;
            let took = began.elapsed()?.as_secs_f64();
            if now.iter().all(|(proxy, version)| before.get(proxy) != Some(version)) {
                milliseconds.push(took * 1e3);
                before = now;
                break;
            }
            ensure!(took < LONGEST, "a change was not acknowledged within {LONGEST} s");
        }
    }
    tell(&format!(
        "policy change to the last ACK of {proxies} proxies, {changes} changes under load   \
         p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms   (target: p99 100 ms)",
        median(&milliseconds),
        percentile(&milliseconds, 0.99),
        percentile(&milliseconds, 1.0)
    ));
    Ok(())
}

/// The version of the routes that each proxy acknowledged.
fn acknowledged(demo: &Demo) -> anyhow::Result<BTreeMap<String, String>> {
    let list = demo.get("/dataplanes+insights")?;
    let mut versions = BTreeMap::new();
    for overview in list["items"].as_array().context("a list of proxies")? {
        let routes = overview["types"]
            .as_object()
            .and_then(|types| {
                types
                    .iter()
                    .find(|(name, _)| name.to_lowercase().contains("rds") || name.contains("Route"))
            })
            .map_or(&Value::Null, |(_, state)| &state["acked"]);
        versions.insert(overview["proxy"]["name"].to_string(), routes.to_string());
    }
    Ok(versions)
}
