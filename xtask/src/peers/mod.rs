//! The real servers that tests talk to, had by package name and kept in the user's cache, by
//! version. What is there is not fetched again.

mod datadog;
mod envoy;
mod go;
mod otelcol;
mod pypi;
mod python;
mod rotel;
mod zipkin;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::project::{cache, program, say};

/// One peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// The Envoy that Ursa runs
    Envoy,
    /// The oldest Envoy that Ursa supports
    EnvoyOldest,
    /// The OpenTelemetry Collector
    Otelcol,
    /// OpenTelemetry's generator of telemetry
    Telemetrygen,
    /// Another pipeline, to compare with
    Rotel,
    /// Zipkin's server, and the Java that runs it
    Zipkin,
    /// Datadog's test agent
    Datadog,
    /// Datadog's library for Python
    Ddtrace,
    /// Zipkin's library for Python
    PyZipkin,
    /// OpenTelemetry's library for Python
    OpentelemetryPython,
    /// Prometheus, which takes metrics by OTLP
    Prometheus,
    /// Loki, which takes logs by OTLP
    Loki,
    /// The code of Kubernetes' API server that judges definitions
    Crdcheck,
    /// The browser that looks at the live view
    Chromium,
}

impl Peer {
    /// All that `cargo xtask test` needs, what takes longest first.
    pub(crate) const ALL: &[Self] = &[
        Self::Loki,
        Self::Prometheus,
        Self::Otelcol,
        Self::Telemetrygen,
        Self::Crdcheck,
        Self::Zipkin,
        Self::Envoy,
        Self::EnvoyOldest,
        Self::Datadog,
        Self::Ddtrace,
        Self::PyZipkin,
        Self::OpentelemetryPython,
        Self::Rotel,
        Self::Chromium,
    ];

    /// Sees to it that it is there, and says where.
    pub(crate) fn provide(self) -> anyhow::Result<PathBuf> {
        let envoy = |envoy| kept(&envoy::Envoy::path(envoy), |to| envoy::fetch(envoy, to));
        let built = |program| kept(&go::Program::path(program), |to| go::build(program, to));
        let python = |library| {
            let made = kept(&python::Library::path(library), |to| python::fetch(library, to))?;
            Ok(made.join(python::PROGRAM))
        };
        match self {
            Self::Envoy => envoy(&envoy::NEWEST),
            Self::EnvoyOldest => envoy(&envoy::OLDEST),
            Self::Otelcol => kept(Path::new(otelcol::PATH), otelcol::build),
            Self::Telemetrygen => built(&go::TELEMETRYGEN),
            Self::Prometheus => built(&go::PROMETHEUS),
            Self::Loki => built(&go::LOKI),
            Self::Crdcheck => built(&go::CRDCHECK),
            Self::Rotel => kept(Path::new(rotel::PATH), rotel::fetch),
            Self::Datadog => {
                Ok(kept(Path::new(datadog::PATH), datadog::fetch)?.join(datadog::PROGRAM))
            }
            Self::Ddtrace => python(&python::DDTRACE),
            Self::PyZipkin => python(&python::PY_ZIPKIN),
            Self::OpentelemetryPython => python(&python::OPENTELEMETRY),
            Self::Zipkin => {
                zipkin::java()?;
                kept(Path::new(zipkin::PATH), zipkin::fetch)
            }
            Self::Chromium => ["chromium", "chromium-browser", "google-chrome"]
                .iter()
                .find_map(|name| program(name))
                .context("there is none; install it, on Debian by: apt-get install chromium"),
        }
    }
}

/// Sees to it that the peers are there; tells of every one that cannot be had.
pub(crate) fn provide(peers: &[Peer]) -> anyhow::Result<()> {
    let mut missing = 0;
    for peer in peers {
        let value = peer.to_possible_value();
        let name = value.as_ref().map_or("peer", |value| value.get_name());
        match peer.provide() {
            Ok(path) => say(&format!("peers: {name} is {}", path.display())),
            Err(error) => {
                say(&format!("peers: {name}: {error:#}"));
                missing += 1;
            }
        }
    }
    if missing > 0 {
        bail!("{missing} of {} cannot be had", peers.len());
    }
    Ok(())
}

/// The file or directory at `path` in the cache. If it is not there, `make` makes it in an empty directory, from which
/// it moves to its place at once, so that nobody ever finds it half made.
fn kept(
    path: &Path,
    make: impl FnOnce(&Path) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    let place = cache()?.join(path);
    if place.exists() {
        return Ok(place);
    }
    let parent = place.parent().context("a path in the cache has a directory")?;
    std::fs::create_dir_all(parent)?;
    let workshop = tempfile::Builder::new().prefix(".making-").tempdir_in(parent)?;
    let made = make(workshop.path())?;
    match std::fs::rename(&made, &place) {
        // Somebody else was faster.
        Err(_) if place.is_dir() => {}
        moved => moved.with_context(|| format!("keep {}", made.display()))?,
    }
    Ok(place)
}
