//! rotel, from the package `rotel` of PyPI: the nearest relative of our pipeline.

use std::path::{Path, PathBuf};

use super::pypi;
use crate::project::say;

/// Its place in the cache.
pub(super) const PATH: &str = "peers/rotel/0.0.1a15/rotel-agent";

const SHA256: &str = "2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7";
/// The program is the same in the wheels for all versions of Python.
const TAGS: [&str; 4] = [
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--platform=manylinux_2_34_x86_64",
];

/// Fetches it into a directory.
pub(super) fn fetch(directory: &Path) -> anyhow::Result<PathBuf> {
    say("peers: fetching rotel 0.0.1a15 from PyPI (some 10 MB)");
    pypi::unpack(directory, "rotel==0.0.1a15", SHA256, &TAGS)?;
    pypi::program(directory.join("rotel/rotel-agent"))
}
