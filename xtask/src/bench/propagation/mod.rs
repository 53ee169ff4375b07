//! What trace context in several formats costs: CPU of Envoy for each request, and instructions of the module.
//!
//! Requests go through two proxies to an application. Policies come and go as a user's would, and rounds under the one
//! and the other take turns, each compared with its neighbour. What the application receives is looked at in each
//! round, so that nothing is measured but what works. The load and the application run in this process, on other
//! processors than the Envoys, which share one.

mod comparison;
mod instructions;
mod mesh;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use self::comparison::{COMPARISONS, Comparison, Side};
use self::mesh::Mesh;
use self::report::{Pair, Round};
use super::overhead::application::{Application, THREADS};
use super::overhead::load::Load;
use super::pipeline::sink::{Sink, Tally};
use super::process::{Process, keep_apart, pause};
use super::{backends, in_turns, program};
use crate::project::say;

/// How long a policy is under load before it is measured.
const WARM: Duration = Duration::from_millis(500);
/// How long the load goes on at the end, so that none of it is missing while it is measured.
const TAIL: Duration = Duration::from_millis(100);
/// The share of the requests without which a round does not count.
const KEPT: f64 = 0.97;

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds, each with every comparison in turn
    #[arg(long, default_value_t = 16)]
    rounds: usize,
    /// How long each side of a comparison is measured in a round, in seconds
    #[arg(long, default_value_t = 1.5, value_name = "SECONDS")]
    time: f64,
    /// Requests a second
    #[arg(long, default_value_t = 3_000.0, value_name = "N")]
    rate: f64,
    /// Only comparisons whose name contains one of these
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only the module's instructions, which need `valgrind` and no mesh
    #[arg(long)]
    instructions: bool,
    /// This program, and not a release build of the checkout
    #[arg(long, value_name = "PATH")]
    ursa: Option<PathBuf>,
}

/// Measures and tells. `release` builds Ursa.
pub(crate) fn run(
    arguments: &Arguments,
    release: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    if !arguments.instructions {
        let ursa = program(arguments.ursa.as_deref(), release)?;
        let backend = backends()?;
        let pairs = Bench::start(&ursa, backend)?.measure(arguments)?;
        report::tell(&pairs, arguments.rate);
    }
    instructions::run()
}

/// All that is running.
struct Bench {
    mesh: Mesh,
    envoys: Vec<Process>,
    application: Application,
    spans: Arc<Tally>,
    _sink: Sink,
    _backend: tokio::runtime::Runtime,
}

impl Bench {
    fn start(ursa: &Path, backend: tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let spans = Arc::<Tally>::default();
        let sink = backend.block_on(Sink::start(None, &spans))?;
        let application = Application::start()?;
        let mesh = Mesh::start(ursa, application.address(), sink.address())?;
        let envoys = mesh.envoys()?;
        keep_apart(&envoys);
        Ok(Self { mesh, envoys, application, spans, _sink: sink, _backend: backend })
    }

    fn measure(&mut self, arguments: &Arguments) -> anyhow::Result<Vec<Pair>> {
        let wanted = |comparison: &&Comparison| {
            let name = comparison.name;
            arguments.only.is_empty() || arguments.only.iter().any(|text| name.contains(text))
        };
        let time = Duration::from_secs_f64(arguments.time);
        let mut pairs = Vec::new();
        for round in 1..=arguments.rounds {
            for comparison in COMPARISONS.iter().filter(wanted) {
                let pair = self.pair(comparison, arguments.rate, time, round)?;
                let of = format!("bench: round {round} of {}", arguments.rounds);
                match &pair {
                    Some(pair) => say(&format!("{of}: {pair}")),
                    None => say(&format!("{of}: {}: not kept up", comparison.name)),
                }
                pairs.extend(pair);
            }
        }
        ensure!(self.spans.spans() > 0, "there were no spans");
        Ok(pairs)
    }

    /// One side and the other; which comes first takes turns. None: the machine had other things to do.
    fn pair(
        &mut self,
        comparison: &'static Comparison,
        rate: f64,
        time: Duration,
        round: usize,
    ) -> anyhow::Result<Option<Pair>> {
        let Comparison { headers, without, with, .. } = comparison;
        let side = |side| self.round(headers, side, rate, time).context(comparison.name);
        let (without, with) = in_turns(round, *without, *with, side)?;
        Ok(without.zip(with).map(|(without, with)| Pair { comparison, without, with }))
    }

    /// None if the load was not what it should have been.
    fn round(
        &mut self,
        headers: &'static str,
        side: &'static Side,
        rate: f64,
        time: Duration,
    ) -> anyhow::Result<Option<Round>> {
        self.mesh.set(side)?;
        let load = Load::start(self.mesh.address(), headers, Some(rate), WARM + time + TAIL)?;
        pause(WARM);
        let begun = self.taken(&load)?;
        pause(time);
        let ended = self.taken(&load)?;
        let received = self.application.sample();
        load.end()?;
        for (name, is_written) in side.receives {
            let is_there = received.contains(&format!("\r\n{name}: "));
            ensure!(is_there == *is_written, "{name}: {is_there} under {side:?}:\n{received}");
        }
        let requests = (ended.requests - begun.requests) as f64;
        if requests < KEPT * rate * time.as_secs_f64() {
            return Ok(None);
        }
        Ok(Some(Round {
            envoys: (ended.envoys - begun.envoys) / requests,
            application: (ended.application - begun.application) / requests,
        }))
    }

    fn taken(&self, load: &Load) -> anyhow::Result<Taken> {
        let envoys: anyhow::Result<Vec<f64>> = self.envoys.iter().map(|one| one.cpu()).collect();
        Ok(Taken {
            envoys: envoys?.iter().sum(),
            application: Process::new(std::process::id()).cpu_of(THREADS)?,
            requests: load.answers(),
        })
    }
}

/// What had been taken and seen at a time: seconds of CPU, and a number.
struct Taken {
    envoys: f64,
    application: f64,
    requests: u64,
}
