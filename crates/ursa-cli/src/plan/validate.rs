//! Asking a real Envoy whether it accepts the configuration of proxies.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::failure::{Doing as _, Outcome};
use crate::up::envoy::Envoy;

/// How long Envoy may take for one configuration.
const PATIENCE: Duration = Duration::from_secs(30);
/// Characters of what Envoy says that are shown.
const MAX_WORDS: usize = 2_000;

/// Asks about every proxy that has a bootstrap, and puts the answer in its place. Returns how many are refused.
pub(crate) async fn validate(answer: &mut Value, envoy: &Envoy) -> Outcome<usize> {
    let mut refused = 0;
    for proxy in answer["proxies"].as_array_mut().into_iter().flatten() {
        let bootstrap = proxy.as_object_mut().and_then(|proxy| proxy.remove("bootstrap"));
        let Some(bootstrap) = bootstrap.filter(|bootstrap| !bootstrap.is_null()) else { continue };
        let error = ask(envoy, &bootstrap).await?;
        refused += usize::from(error.is_some());
        proxy["envoy"] = json!({
            "version": envoy.version.to_string(), "accepts": error.is_none(), "error": error,
        });
    }
    Ok(refused)
}

/// Why Envoy refuses a bootstrap; `None` if it does not.
async fn ask(envoy: &Envoy, bootstrap: &Value) -> Outcome<Option<String>> {
    let folder = tempfile::tempdir().doing("make a folder for Envoy's configuration")?;
    let path = folder.path().join("bootstrap.json");
    std::fs::write(&path, bootstrap.to_string()).doing("write Envoy's configuration")?;
    let asking = Command::new(&envoy.path)
        .args([
            "--mode",
            "validate",
            "--disable-hot-restart",
            "--log-level",
            "warn",
            "--config-path",
        ])
        .arg(&path)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(output) = timeout(PATIENCE, asking).await else {
        return Ok(Some(format!("it did not answer within {} s", PATIENCE.as_secs())));
    };
    let output = output.doing(format!("run {}", envoy.path.display()))?;
    if output.status.success() {
        return Ok(None);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Ok(Some(words.trim().chars().take(MAX_WORDS).collect()))
}
