//! `up` to the first whole trace, and what each process holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::statistics::median;
use crate::project::tell;

/// What the processes of one kind should not exceed, and what the peer's were seen to take (measured elsewhere,
/// idle, Kuma 3.0 snapshot), in MB.
const LIMITS: [(&str, f64, &str); 2] = [("control-plane", 40.0, "93 MB"), ("agent", 15.0, "81 MB")];

pub(crate) fn run(ursa: &Path, runs: usize) -> anyhow::Result<()> {
    let mut first_trace = Vec::new();
    let mut ready = Vec::new();
    let mut memory: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..runs {
        let report = check(ursa)?;
        first_trace
            .push(report["seconds_to_first_trace"].as_f64().context("no seconds_to_first_trace")?);
        ready.push(report["seconds_to_ready"].as_f64().context("no seconds_to_ready")?);
        for (process, bytes) in report["rss_bytes"].as_object().context("no rss_bytes")? {
            let kind = process
                .split_once('-')
                .filter(|_| process != "control-plane")
                .map_or(process.as_str(), |(k, _)| k);
            memory.entry(kind.to_owned()).or_default().push(bytes.as_f64().unwrap_or(0.0) / 1e6);
        }
    }
    tell(&format!("up to ready           {:.2} s median of {runs}", median(&ready)));
    tell(&format!(
        "up to a whole trace   {:.2} s median of {runs}   (target: 10 s)",
        median(&first_trace)
    ));
    for (kind, figures) in &memory {
        let limit = LIMITS.iter().find(|(name, ..)| name == kind);
        let beside = limit.map_or_else(String::new, |(_, limit, peer)| {
            format!("   (target: {limit:.0} MB; Kuma's, measured elsewhere: {peer})")
        });
        let most = figures.iter().copied().fold(0.0, f64::max);
        tell(&format!(
            "RSS {kind:<17} {:.1} MB median, {most:.1} MB most{beside}",
            median(figures)
        ));
    }
    Ok(())
}

fn check(ursa: &Path) -> anyhow::Result<Value> {
    let data = tempfile::tempdir()?;
    let output = Command::new(ursa)
        .args(["up", "--check", "--free-ports", "--data-dir"])
        .arg(data.path())
        .output()
        .context("run ursa up --check")?;
    ensure!(
        output.status.success(),
        "ursa up --check failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("understand the report")
}
