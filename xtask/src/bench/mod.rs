//! `cargo xtask bench`: the figures that are features, on this machine, beside their targets.
//!
//! Nothing here fails because a figure is worse than it should be: a benchmark tells, people decide. Kuma's own
//! processes cannot be had here by package name; where a peer's figure is shown it was measured elsewhere and says so.

mod demo;
mod overhead;
pub(crate) mod pipeline;
mod policy;
mod process;
mod propagation;
mod scrape;
pub(crate) mod statistics;
mod up;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Subcommand;

use crate::project;

/// What is measured.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Bench {
    /// `up` to the first whole trace, and the memory of each process
    Up {
        /// How many times
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// A policy change to the last of five proxies' acknowledgement
    Policy {
        /// How many changes
        #[arg(long, default_value_t = 200)]
        changes: usize,
    },
    /// What telemetry costs on its way, beside the OpenTelemetry Collector and rotel
    Pipeline(pipeline::Arguments),
    /// What being observed costs a proxy: CPU of Envoy and its agent for each request
    Overhead(overhead::Arguments),
    /// What reading and writing trace context in several formats costs a proxy, and of that the module
    Propagation(propagation::Arguments),
    /// What collecting the metrics of a large proxy takes of its agent
    Scrape {
        /// How many times
        #[arg(long, default_value_t = 100)]
        scrapes: usize,
    },
    /// A clean release build, in a target directory of its own
    Build,
}

/// Measures one thing, or each in turn.
pub(crate) fn run(bench: Option<Bench>) -> anyhow::Result<()> {
    match bench {
        Some(Bench::Up { runs }) => up::run(&release()?, runs),
        Some(Bench::Policy { changes }) => policy::run(&release()?, changes),
        Some(Bench::Pipeline(arguments)) => pipeline::run(&arguments, release),
        Some(Bench::Overhead(arguments)) => overhead::run(&arguments, release),
        Some(Bench::Propagation(arguments)) => propagation::run(&arguments, release),
        Some(Bench::Scrape { scrapes }) => scrape::run(&release()?, scrapes),
        Some(Bench::Build) => build(),
        None => {
            let ursa = release()?;
            up::run(&ursa, 5)?;
            policy::run(&ursa, 200)
        }
    }
}

/// The program that is measured: the one that was named, or what `release` builds.
fn program(
    named: Option<&Path>,
    release: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    named.map_or_else(release, |named| named.canonicalize().context("find the program"))
}

/// What backends run on, beside what is measured.
fn backends() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().context("start the backends")
}

/// One side and the other; which comes first takes turns from round to round.
fn in_turns<S, T>(
    round: usize,
    without: S,
    with: S,
    mut side: impl FnMut(S) -> anyhow::Result<T>,
) -> anyhow::Result<(T, T)> {
    if round.is_multiple_of(2) {
        let with = side(with)?;
        Ok((side(without)?, with))
    } else {
        Ok((side(without)?, side(with)?))
    }
}

/// Builds `ursa` as users get it.
fn release() -> anyhow::Result<PathBuf> {
    let root = project::root();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "ursa"])
        .current_dir(root)
        .status()
        .context("run cargo")?;
    ensure!(built.success(), "the release build failed");
    Ok(project::target().join("release/ursa"))
}

fn build() -> anyhow::Result<()> {
    let root = project::root();
    let target = tempfile::tempdir().context("make a target directory")?;
    let began = std::time::SystemTime::now();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "ursa", "--target-dir"])
        .arg(target.path())
        .current_dir(root)
        .status()
        .context("run cargo")?;
    ensure!(built.success(), "the release build failed");
    let took = began.elapsed().context("read the clock")?;
    project::tell(&format!(
        "clean release build   {:.0} s   (target: 480 s on 2 cores)",
        took.as_secs_f64()
    ));
    Ok(())
}
