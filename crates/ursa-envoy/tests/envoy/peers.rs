//! Real Envoys: where they are, and their bootstrap.

use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use tokio::process::{Child, Command};
use ursa_envoy::bootstrap::{BootstrapInputs, bootstrap};
use ursa_envoy::json::message_to_json;
use ursa_model::key::ProxyId;

/// The newest and the oldest that are supported.
const VERSIONS: [&str; 2] = ["1.40.0", "1.36.4"];

/// The Envoy named by `URSA_ENVOY`, else each of [`VERSIONS`] from Ursa's cache.
///
/// # Panics
/// When one is not there.
pub(crate) fn envoys() -> Vec<PathBuf> {
    if let Some(path) = std::env::var_os("URSA_ENVOY") {
        return vec![path.into()];
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))
        .expect("HOME is set");
    let envoy = |version| {
        let path = cache.join("ursa/envoy").join(version).join("envoy");
        assert!(path.is_file(), "{} is missing; run `cargo xtask peers`", path.display());
        path
    };
    VERSIONS.map(envoy).to_vec()
}

/// A bootstrap whose sockets are in `folder`.
pub(crate) fn bootstrap_in(folder: &Path) -> Bootstrap {
    let metadata =
        serde_json::json!({ "ursa": { "version": "0.1.0", "features": [1, true, null] } });
    bootstrap(&BootstrapInputs {
        id: &ProxyId::new("default", "frontend-1"),
        cluster: "frontend",
        zone: Some("east"),
        ads_socket: &folder.join("ads.sock"),
        otlp_socket: &folder.join("otlp.sock"),
        admin_socket: &folder.join("admin.sock"),
        memory: Some(1 << 30),
        metadata: metadata.as_object().unwrap(),
    })
}

/// Whether `envoy` accepts `bootstrap`; if not, what it says.
pub(crate) async fn validate(envoy: &Path, bootstrap: &Bootstrap) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let output = command(envoy, folder.path(), bootstrap)
        .args(["--mode", "validate"])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(words) }
}

/// Runs `envoy` until the result is dropped. A long drain time, so that what changes at once did
/// not need a drain.
pub(crate) fn run(envoy: &Path, folder: &Path, bootstrap: &Bootstrap) -> Child {
    command(envoy, folder, bootstrap)
        .args(["--concurrency", "1", "--drain-time-s", "600", "--file-flush-interval-msec", "100"])
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn command(envoy: &Path, folder: &Path, bootstrap: &Bootstrap) -> Command {
    let path = folder.join("bootstrap.json");
    std::fs::write(&path, message_to_json(bootstrap).to_string()).unwrap();
    let mut command = Command::new(envoy);
    command.arg("--config-path").arg(path).args(["--disable-hot-restart", "--log-level", "warn"]);
    command
}

/// Whether it is the oldest, which has no place for modules.
pub(crate) fn is_oldest(envoy: &Path) -> bool {
    envoy.to_string_lossy().contains("1.36")
}

/// Writes the library of the hooks into `folder`.
pub(crate) fn library_in(folder: &Path) -> String {
    let library = ursa_envoy_module::LIBRARY.unwrap();
    let path = folder.join(library.file_name);
    std::fs::write(&path, library.bytes).unwrap();
    path.to_str().unwrap().to_owned()
}
