//! The OpenTelemetry Collector, built by its own builder as `peers/otelcol/` says.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::go::go;
use crate::project::{run_quietly, say};

/// Its place in the cache: the release, and how often its parts have changed since.
pub(super) const PATH: &str = "peers/otelcol/0.162.0-2/otelcol";

const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder@v0.162.0";
const PARTS: &str = include_str!("../../peers/otelcol/builder.yaml");
const MODULES: &str = include_str!("../../peers/otelcol/go.mod");
const CHECKSUMS: &str = include_str!("../../peers/otelcol/go.sum");

/// Builds it in a directory.
///
/// The builder only writes the sources. Left to itself it tidies the modules, for which it asks for
/// those too that only tests of its parts use; not all of those can be had.
pub(super) fn build(directory: &Path) -> anyhow::Result<PathBuf> {
    say("peers: building the OpenTelemetry Collector 0.162.0 (some 2 minutes)");
    let sources = directory.join("sources");
    let parts = directory.join("parts.yaml");
    std::fs::write(&parts, PARTS.replace("OUTPUT", &sources.to_string_lossy()))?;
    let write = ["--skip-get-modules", "--skip-compilation", "--config"];
    run_quietly(go().args(["run", BUILDER]).args(write).arg(&parts).current_dir(directory))
        .context("the Collector's builder failed; Go 1.26 is needed (https://go.dev/dl)")?;
    std::fs::write(sources.join("go.mod"), MODULES)?;
    std::fs::write(sources.join("go.sum"), CHECKSUMS)?;
    let build = ["build", "-trimpath", "-ldflags=-s -w", "-o", "otelcol", "."];
    run_quietly(go().args(build).current_dir(&sources))?;
    Ok(sources.join("otelcol"))
}
