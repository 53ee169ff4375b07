//! Programs of Go that are built as they are: of a module that only names them, so that `go.mod` and `go.sum` pin
//! everything that is in them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::project::{run_quietly, say};

/// One program.
pub(super) struct Program {
    /// Its file, too.
    pub(super) name: &'static str,
    /// As its users count.
    pub(super) version: &'static str,
    /// How long it takes where nothing is there yet, on 2 cores.
    pub(super) minutes: &'static str,
    package: &'static str,
    modules: &'static str,
    checksums: &'static str,
    /// What of it is left out.
    tags: &'static str,
    /// Its one file, where it is a program of ours over others' packages.
    main: &'static str,
}

/// Makes load.
pub(super) const TELEMETRYGEN: Program = Program {
    name: "telemetrygen",
    version: "0.161.0",
    minutes: "1 minute",
    package: "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen",
    modules: include_str!("../../peers/telemetrygen/go.mod"),
    checksums: include_str!("../../peers/telemetrygen/go.sum"),
    tags: "",
    main: "",
};

/// Takes metrics by OTLP, and scrapes. Release 3.15 is version 0.315 of its module. Its web page is not built in, the
/// API is; nor are the clouds in which it could find targets, but Kuma is.
pub(super) const PROMETHEUS: Program = Program {
    name: "prometheus",
    version: "3.15.0",
    minutes: "3 minutes",
    package: "github.com/prometheus/prometheus/cmd/prometheus",
    modules: include_str!("../../peers/prometheus/go.mod"),
    checksums: include_str!("../../peers/prometheus/go.sum"),
    tags: "remove_all_sd,enable_xds_sd",
    main: "",
};

/// Takes logs by OTLP.
pub(super) const LOKI: Program = Program {
    name: "loki",
    version: "3.7.8",
    minutes: "5 minutes",
    package: "github.com/grafana/loki/v3/cmd/loki",
    modules: include_str!("../../peers/loki/go.mod"),
    checksums: include_str!("../../peers/loki/go.sum"),
    tags: "",
    main: "",
};

/// Judges definitions and resources by the code of Kubernetes' API server.
pub(super) const CRDCHECK: Program = Program {
    name: "crdcheck",
    version: "0.37.0-1",
    minutes: "2 minutes",
    package: ".",
    modules: include_str!("../../peers/crdcheck/go.mod"),
    checksums: include_str!("../../peers/crdcheck/go.sum"),
    tags: "",
    main: include_str!("../../peers/crdcheck/main.go"),
};

impl Program {
    /// Its place in the cache.
    pub(super) fn path(&self) -> PathBuf {
        ["peers", self.name, self.version, self.name].iter().collect()
    }
}

/// Builds it in a directory.
pub(super) fn build(program: &Program, directory: &Path) -> anyhow::Result<PathBuf> {
    let Program { name, version, minutes, .. } = program;
    say(&format!("peers: building {name} {version} (some {minutes})"));
    std::fs::write(directory.join("go.mod"), program.modules)?;
    std::fs::write(directory.join("go.sum"), program.checksums)?;
    if !program.main.is_empty() {
        std::fs::write(directory.join("main.go"), program.main)?;
    }
    let build = ["build", "-trimpath", "-ldflags=-s -w", "-tags", program.tags, "-o", name];
    run_quietly(go().args(build).arg(program.package).current_dir(directory))
        .context("go build failed; Go 1.26 is needed (https://go.dev/dl)")?;
    Ok(directory.join(name))
}

/// Go, on its own and without C.
pub(super) fn go() -> Command {
    let mut go = Command::new("go");
    go.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOFLAGS", "-buildvcs=false");
    go
}
