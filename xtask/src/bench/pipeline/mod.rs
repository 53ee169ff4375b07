//! What telemetry costs on its way: Ursa's gateway, the OpenTelemetry Collector and rotel doing the same work, in turn,
//! with the same input and the same backend.
//!
//! The load and the backend run in this process, which for that is built with optimisation; what is measured are the
//! others' processes, by what Linux says of them.

mod drain;
mod idle;
pub(crate) mod load;
mod process;
pub(crate) mod program;
mod report;
pub(crate) mod sink;
pub(crate) mod spans;
mod work;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use self::program::{Program, Programs};
use self::report::Report;
use self::work::WORKS;
use crate::peers::{Peer, provide};
use crate::project::{cargo, run as run_command, say, target, tell};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// OTLP/gRPC
    Grpc,
    /// OTLP/HTTP with Protobuf
    Http,
}

impl Wire {
    fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// How what is sent is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not
    None,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// In which form the result is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds, each with every program in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One round, and a fifth of the spans
    #[arg(long, conflicts_with_all = ["rounds", "full"])]
    quick: bool,
    /// Lets as many spans wait for the dead backend as come in 10 minutes at 5,000 a second
    #[arg(long)]
    full: bool,
    /// Only works whose name contains one of these; `idle`, `delay` and `return` are works, too
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only programs whose name begins with one of these
    #[arg(long, value_name = "NAME")]
    programs: Vec<String>,
    /// This program, and not a release build of the checkout
    #[arg(long, value_name = "PATH")]
    ursa: Option<PathBuf>,
    /// The form of the result
    #[arg(long, value_enum, default_value_t)]
    output: Form,
}

impl Arguments {
    fn wants(&self, work: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| work.contains(text))
    }

    fn compares(&self, program: Program) -> bool {
        let name = program.name();
        self.programs.is_empty() || self.programs.iter().any(|start| name.starts_with(start))
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds }
    }
}

/// Measures and tells. `release` builds Ursa.
pub(crate) fn run(
    arguments: &Arguments,
    release: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        return optimised();
    }
    let ursa = match &arguments.ursa {
        Some(ursa) => ursa.canonicalize().context("find the program")?,
        None if arguments.compares(Program::Ursa) => release()?,
        None => PathBuf::new(),
    };
    let programs = Programs { ursa };
    provide(&[Peer::Otelcol, Peer::Rotel])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(arguments, &programs) => report,
            stopped = stopped() => stopped,
        }
    })?;
    match arguments.output {
        Form::Table => report.table(),
        Form::Json => tell(&serde_json::to_string_pretty(&report.json())?),
    }
    Ok(())
}

/// Waits until somebody stops this. What was started ends with what is dropped then.
pub(crate) async fn stopped<T>() -> anyhow::Result<T> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminated.recv() => bail!("terminated"),
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

/// Builds this program again so that it is not what is slow, and becomes it.
fn optimised() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    say("bench: building the load and the backend");
    run_command(&mut cargo(&["build", "--profile", "load", "--package", "xtask"]))?;
    let error = Command::new(target().join("load/xtask")).args(std::env::args_os().skip(1)).exec();
    Err(error).context("start what was built")
}

async fn measure(arguments: &Arguments, programs: &Programs) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let part = if arguments.quick { 5 } else { 1 };
    let wanted = |all: &'static [Program]| {
        all.iter().copied().filter(|program| arguments.compares(*program))
    };
    for round in 1..=arguments.rounds() {
        let of = format!("round {round} of {}", arguments.rounds());
        for work in WORKS.iter().filter(|work| arguments.wants(work.name)) {
            for program in wanted(work.programs) {
                let name = format!("{}: {}", work.name, program.name());
                let cost = work
                    .measure(programs, program, work.spans / part)
                    .await
                    .context(name.clone())?;
                say(&format!(
                    "bench: {of}: {name}: {:.2} CPU-s a million, {:.1} MB, {:.0} spans/s, {:.0} bytes a span, \
                     lost {}, pushed back {}",
                    cost.cpu, cost.peak, cost.speed, cost.bytes, cost.lost, cost.pushed_back,
                ));
                report.costs.push((*work, program, cost));
            }
        }
        if arguments.wants("delay") {
            let time = Duration::from_secs(if arguments.quick { 5 } else { 15 });
            for program in wanted(&[Program::Ursa, Program::Collector, Program::Rotel]) {
                let delay = idle::delay(programs, program, time).await.context("delay")?;
                say(&format!("bench: {of}: delay: {}: {delay:?}", program.name()));
                report.delays.push((program, delay));
            }
        }
    }
    if arguments.wants("idle") {
        for program in wanted(&[Program::Ursa, Program::Collector, Program::Rotel]) {
            let resident = idle::memory(programs, program).await.context("idle")?;
            say(&format!("bench: idle: {}: {resident:.1} MB", program.name()));
            report.idle.push((program, resident));
        }
    }
    if arguments.wants("return") {
        let (spans, rate) = match (arguments.full, arguments.quick) {
            (true, _) => (3_000_000, 5_000.0),
            (false, false) => (300_000, 10_000.0),
            (false, true) => (100_000, 10_000.0),
        };
        for program in wanted(drain::PROGRAMS) {
            let drain = drain::measure(programs, program, spans, rate).await.context("return")?;
            say(&format!("bench: a backend's return: {}: {drain:?}", program.name()));
            report.drains.push((program, drain));
        }
    }
    Ok(report)
}
