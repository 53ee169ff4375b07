//! `cargo xtask test`: the peers are fetched while cargo builds; then the tests run.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::peers::{self, Peer};
use crate::project::{self, cargo, say};
use crate::{kill, soak};

pub(crate) fn run(all: bool) -> anyhow::Result<()> {
    let (fetched, built) = thread::scope(|scope| {
        let peers = scope.spawn(|| peers::provide(Peer::ALL));
        let built = project::run(&mut cargo(&["test", "--workspace", "--no-run"]));
        let fetched = peers.join().unwrap_or_else(|_| Err(anyhow!("it panicked")));
        (fetched, built)
    });
    fetched.context("peers")?;
    built?;
    say("test: running");
    project::run(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    soak::run(if all { Duration::from_mins(30) } else { soak::SHORT }, None)?;
    if all {
        kill::run(kill::MANY)?;
        say("test: soaking a mesh");
        project::run(&mut cargo(&["test", "--package", "ursa", "--test", "soak"]))?;
    }
    Ok(())
}
