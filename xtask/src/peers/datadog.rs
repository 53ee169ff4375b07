//! Datadog's test agent, from the package `ddapm-test-agent` of PyPI and those it needs: takes what Datadog's agent
//! takes, and checks it.

use std::path::{Path, PathBuf};

use super::pypi;
use crate::project::say;

/// Its place in the cache: a directory.
pub(super) const PATH: &str = "peers/ddapm-test-agent/1.69.1";
/// The program in it.
pub(super) const PROGRAM: &str = "bin/ddapm-test-agent";

const REQUIREMENTS: &str = include_str!("../../peers/ddapm-test-agent/requirements.txt");
/// Finds its modules beside itself, so that the directory may lie anywhere.
const START: &str = r#"#!/bin/sh
here="$(dirname "$(readlink -f "$0")")"
PYTHONPATH="$here/../lib" exec python3 -m ddapm_test_agent.agent "$@"
"#;

/// Fetches it into a directory, and makes a directory of it.
pub(super) fn fetch(directory: &Path) -> anyhow::Result<PathBuf> {
    say("peers: fetching Datadog's test agent 1.69.1 from PyPI (some 20 MB)");
    let made = directory.join("made");
    std::fs::create_dir_all(made.join("bin"))?;
    pypi::install(directory, REQUIREMENTS, "made/lib")?;
    std::fs::write(made.join(PROGRAM), START)?;
    pypi::program(made.join(PROGRAM))?;
    Ok(made)
}
