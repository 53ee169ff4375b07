//! `cargo xtask test`: the peers are fetched while cargo builds; then the tests run.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::coverage::{Coverage, Tools};
use crate::peers::{self, Peer};
use crate::project::{self, cargo, say};
use crate::{kill, soak};

pub(crate) fn run(all: bool, coverage: bool) -> anyhow::Result<()> {
    let tools = if coverage { Tools::provide().inspect_err(unmeasured).ok() } else { None };
    if let Some(tools) = tools {
        let coverage = with_peers(|| Coverage::build(tools, Vec::new()))?;
        say("test: running");
        coverage.test(false)?;
        project::run(&mut cargo(&["test", "--package", "xtask"]))?;
    } else {
        with_peers(|| project::run(&mut cargo(&["test", "--workspace", "--no-run"])))?;
        say("test: running");
        project::run(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    }
    soak::run(if all { Duration::from_mins(30) } else { soak::SHORT }, None)?;
    if all {
        kill::run(kill::MANY)?;
        say("test: soaking a mesh");
        project::run(&mut cargo(&["test", "--package", "ursa", "--test", "soak"]))?;
    }
    Ok(())
}

/// A machine that cannot have LLVM's tools runs the tests all the same.
fn unmeasured(error: &anyhow::Error) {
    say(&format!("coverage: not measured, for want of LLVM's tools: {error:#}"));
}

/// Builds, and meanwhile sees to it that the peers are there.
pub(crate) fn with_peers<T>(build: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let peers = scope.spawn(|| peers::provide(Peer::ALL));
        let built = build();
        let fetched = peers.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
        fetched.context("peers")?;
        built
    })
}
