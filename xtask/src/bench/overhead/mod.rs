//! What being observed costs a proxy: CPU time of Envoy, and of Envoy with its agent, for each request that it serves,
//! with policies and without.
//!
//! It is one Envoy all the time. Policies come and go as a user's would, and rounds with and without them take turns,
//! so that each is compared with its neighbour, for machines wobble more than what is to be seen. The load and the
//! application run in this process, on other processors than Envoy.

pub(super) mod application;
pub(super) mod load;
mod mesh;
mod report;
mod setting;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use self::application::Application;
use self::load::Load;
use self::mesh::Mesh;
use self::report::{Pair, Report, Round};
use self::setting::{Backends, COMPARISONS, Comparison, Setting};
use super::pipeline::sink::{Sink, Tally};
use super::process::{Process, keep_apart, pause};
use super::{backends, in_turns, program};
use crate::project::say;

/// How long a new setting is under load before it is measured.
const WARM: Duration = Duration::from_millis(500);
/// How long the load goes on at the end, so that none of it is missing while it is measured.
const TAIL: Duration = Duration::from_millis(100);
/// For how long it is asked how much Envoy can serve.
const FLOOD: Duration = Duration::from_secs(3);
/// By how much the share of requests with a span may differ from what was asked for.
const SHARE: f64 = 0.15;

/// The share of the requests without which a round does not count.
const KEPT: f64 = 0.97;

/// How it is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds, each with every comparison in turn
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// How long each side of a comparison is measured in a round, in seconds
    #[arg(long, default_value_t = 1.5, value_name = "SECONDS")]
    time: f64,
    /// Requests a second
    #[arg(long, default_value_t = 10_000.0, value_name = "N")]
    rate: f64,
    /// Rounds at half of what Envoy can serve, for the latency
    #[arg(long, default_value_t = 8, value_name = "ROUNDS")]
    latency: usize,
    /// Only comparisons whose name contains one of these
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// This program, and not a release build of the checkout
    #[arg(long, value_name = "PATH")]
    ursa: Option<PathBuf>,
}

/// Measures and tells. `release` builds Ursa.
pub(crate) fn run(
    arguments: &Arguments,
    release: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<()> {
    let ursa = program(arguments.ursa.as_deref(), release)?;
    let backends = backends()?;
    let mut bench = Bench::start(&ursa, backends)?;
    let report = bench.measure(arguments)?;
    report.table(arguments.rate);
    Ok(())
}

/// Says what a pair of rounds gave, if it counts.
fn told(of: &str, comparison: &Comparison, pair: Option<Pair>) -> Option<Pair> {
    say(&match &pair {
        Some(pair) => format!("bench: {of}: {pair}"),
        None => format!("bench: {of}: {}: the load could not be kept up", comparison.name),
    });
    pair
}

/// All that is running.
struct Bench {
    mesh: Mesh,
    envoy: Process,
    agent: Process,
    spans: Arc<Tally>,
    records: Arc<Tally>,
    metrics: Arc<Tally>,
    _application: Application,
    _sinks: [Sink; 3],
    _backends: tokio::runtime::Runtime,
}

impl Bench {
    fn start(ursa: &Path, backends: tokio::runtime::Runtime) -> anyhow::Result<Self> {
        let tallies: [Arc<Tally>; 3] = Default::default();
        let [spans, records, metrics] = tallies;
        let sinks = backends.block_on(async {
            anyhow::Ok([
                Sink::start(None, &spans).await?,
                Sink::start(None, &records).await?,
                Sink::start(None, &metrics).await?,
            ])
        })?;
        let application = Application::start()?;
        let [spans_to, records_to, metrics_to] = &sinks;
        let addresses = Backends {
            spans: spans_to.address(),
            records: records_to.address(),
            metrics: metrics_to.address(),
        };
        let mesh = Mesh::start(ursa, application.address(), addresses)?;
        let (agent, envoy) = mesh.proxy()?;
        keep_apart(&[envoy]);
        Ok(Self {
            mesh,
            envoy,
            agent,
            spans,
            records,
            metrics,
            _application: application,
            _sinks: sinks,
            _backends: backends,
        })
    }

    fn measure(&mut self, arguments: &Arguments) -> anyhow::Result<Report> {
        let wanted = |comparison: &&Comparison| {
            let name = comparison.name;
            arguments.only.is_empty() || arguments.only.iter().any(|text| name.contains(text))
        };
        let time = Duration::from_secs_f64(arguments.time);
        let mut report = Report::default();
        for round in 1..=arguments.rounds {
            for comparison in COMPARISONS.iter().filter(wanted) {
                let of = format!("round {round} of {}", arguments.rounds);
                let pair = self.pair(comparison, arguments.rate, time, round)?;
                report.pairs.extend(told(&of, comparison, pair));
            }
        }
        if arguments.latency > 0 {
            self.mesh.set(Setting::Plain)?;
            let load = Load::start(self.mesh.address(), "", None, FLOOD + WARM + TAIL)?;
            pause(WARM);
            let before = load.answers();
            pause(FLOOD);
            let most = (load.answers() - before) as f64 / FLOOD.as_secs_f64();
            load.end()?;
            report.most = Some(most);
            say(&format!("bench: Envoy serves {most:.0} requests a second at most"));
            for round in 1..=arguments.latency {
                for comparison in COMPARISONS.iter().filter(wanted) {
                    let of = format!("latency, round {round} of {}", arguments.latency);
                    let pair = self.pair(comparison, most / 2.0, time, round)?;
                    report.latencies.extend(told(&of, comparison, pair));
                }
            }
        }
        Ok(report)
    }

    /// One side and the other; which comes first takes turns. None: the machine had other things to do.
    fn pair(
        &mut self,
        comparison: &'static Comparison,
        rate: f64,
        time: Duration,
        round: usize,
    ) -> anyhow::Result<Option<Pair>> {
        let time = time.max(Duration::from_secs_f64(comparison.least()));
        let side = |setting| self.round(setting, rate, time).context(comparison.name);
        let (without, with) = in_turns(round, comparison.without, comparison.with, side)?;
        let both = without.zip(with);
        Ok(both.map(|(without, with)| Pair { comparison, without, with }))
    }

    /// None if the load was not what it should have been.
    fn round(
        &mut self,
        setting: Setting,
        rate: f64,
        time: Duration,
    ) -> anyhow::Result<Option<Round>> {
        self.mesh.set(setting)?;
        let load = Load::start(self.mesh.address(), "", Some(rate), WARM + time + TAIL)?;
        pause(WARM);
        let begun = self.taken(&load)?;
        pause(time);
        let ended = self.taken(&load)?;
        let latencies = load.end()?;
        let requests = (ended.requests - begun.requests) as f64;
        let spans = (ended.spans - begun.spans) as f64;
        if requests < KEPT * rate * time.as_secs_f64() {
            return Ok(None);
        }
        let share = setting.spans();
        // Of few, chance has its share, too.
        let give = SHARE * share + 4.0 * (share / requests).sqrt();
        ensure!(
            (spans / requests - share).abs() <= give,
            "{spans} spans of {requests} requests at {setting:?}"
        );
        let metrics = ended.metrics - begun.metrics;
        ensure!((metrics > 0) == (setting == Setting::Watched), "{metrics} metrics at {setting:?}");
        Ok(Some(Round {
            envoy: (ended.envoy - begun.envoy) / requests,
            agent: (ended.agent - begun.agent) / requests,
            latency: super::statistics::percentile(&latencies, 0.99),
            records: (ended.records - begun.records) as f64 / requests,
        }))
    }

    fn taken(&self, load: &Load) -> anyhow::Result<Taken> {
        Ok(Taken {
            envoy: self.envoy.cpu()?,
            agent: self.agent.cpu()?,
            requests: load.answers(),
            spans: self.spans.spans(),
            records: self.records.spans(),
            metrics: self.metrics.spans(),
        })
    }
}

/// What had been taken and seen at a time: seconds of CPU, and numbers.
struct Taken {
    envoy: f64,
    agent: f64,
    requests: u64,
    spans: u64,
    records: u64,
    metrics: u64,
}
