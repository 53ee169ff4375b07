//! The work that is measured: so many spans in, the same out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::load::Load;
use super::program::{Program, Programs, Setup};
use super::sink::{Sink, Tally, now};
use super::spans::Requests;
use super::{Compression, Wire};

/// How long nothing may arrive until what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// One kind of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// What it is called.
    pub(crate) name: &'static str,
    /// How spans come in.
    pub(crate) input: Wire,
    /// Spans in a request.
    pub(crate) per_request: usize,
    /// What is done to them.
    pub(crate) setup: Setup,
    /// Who does it.
    pub(crate) programs: &'static [Program],
    /// Spans that are sent in one round.
    pub(crate) spans: usize,
    /// How many times cheaper than the better of the others Ursa should be.
    pub(crate) target: Option<f64>,
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds of CPU for a million spans.
    pub(crate) cpu: f64,
    /// The most memory, in MB.
    pub(crate) peak: f64,
    /// Spans a second, from the first sent to the last arrived.
    pub(crate) speed: f64,
    /// Bytes to the backend for each span.
    pub(crate) bytes: f64,
    /// Of the spans acknowledged, those that did not arrive.
    pub(crate) lost: u64,
    /// Requests that were pushed back.
    pub(crate) pushed_back: u64,
}

const RELAY: Setup =
    Setup { output: Wire::Grpc, compression: Compression::None, edits: false, disk: false };
const ALL: &[Program] = &[Program::Ursa, Program::Collector, Program::Rotel];
const BASE: Work = Work {
    name: "",
    input: Wire::Grpc,
    per_request: 100,
    setup: RELAY,
    programs: ALL,
    spans: 1_000_000,
    target: None,
};

/// All of it.
pub(crate) const WORKS: &[Work] = &[
    Work {
        name: "http in, grpc out, 100 a request",
        input: Wire::Http,
        target: Some(10.0),
        ..BASE
    },
    Work { name: "grpc in, grpc out, 100 a request", target: Some(10.0), ..BASE },
    Work {
        name: "http in, http out, 100 a request",
        input: Wire::Http,
        setup: Setup { output: Wire::Http, ..RELAY },
        ..BASE
    },
    Work { name: "grpc in, 5 a request", per_request: 5, spans: 400_000, ..BASE },
    Work {
        name: "grpc in, 1 a request",
        per_request: 1,
        spans: 150_000,
        target: Some(4.0),
        ..BASE
    },
    Work {
        name: "http in, 1 a request",
        input: Wire::Http,
        per_request: 1,
        spans: 150_000,
        target: Some(4.0),
        ..BASE
    },
    Work {
        name: "resource attributes, conventions",
        input: Wire::Http,
        setup: Setup { edits: true, ..RELAY },
        target: Some(8.0),
        ..BASE
    },
    Work {
        name: "queue on disk",
        input: Wire::Http,
        setup: Setup { disk: true, ..RELAY },
        programs: &[Program::Ursa, Program::Collector, Program::CollectorUnsynced],
        spans: 300_000,
        target: Some(10.0),
        ..BASE
    },
    Work {
        name: "gzip out",
        input: Wire::Http,
        setup: Setup { compression: Compression::Gzip, ..RELAY },
        target: Some(6.0),
        ..BASE
    },
    Work {
        name: "zstd out",
        input: Wire::Http,
        setup: Setup { compression: Compression::Zstd, ..RELAY },
        programs: &[Program::Ursa, Program::Collector],
        target: Some(6.0),
        ..BASE
    },
];

impl Work {
    /// Lets a program do it once with so many spans, after a tenth of them to warm it.
    pub(crate) async fn measure(
        &self,
        programs: &Programs,
        program: Program,
        spans: usize,
    ) -> anyhow::Result<Cost> {
        let tally = Arc::new(Tally::default());
        let sink = Sink::start(None, &tally).await?;
        let mut running = programs.start(program, self.setup, sink.address()).await?;
        let requests = Arc::new(Requests::new(self.per_request));
        let mut load = Load::new(running.address(self.input), self.input, requests).await?;

        let warm = load.flood(spans / 10).await.with_context(|| running.process.log())?;
        tally.reaches(warm.spans, PATIENCE).await;
        let (before, bytes) = (running.process.usage()?, tally.bytes());
        let (seen, begun) = (tally.spans(), now());
        let sent = load.flood(spans).await.with_context(|| running.process.log())?;
        tally.reaches(seen + sent.spans, PATIENCE).await;
        let after = running.process.usage()?;

        let arrived = tally.spans() - seen;
        let seconds = tally.last().saturating_sub(begun) as f64 / 1e9;
        anyhow::ensure!(tally.strange() == 0, "{} requests were not OTLP", tally.strange());
        load.close().await;
        running.process.stop().await?;
        Ok(Cost {
            cpu: (after.cpu - before.cpu) / arrived as f64 * 1e6,
            peak: after.peak / 1e6,
            speed: arrived as f64 / seconds,
            bytes: (tally.bytes() - bytes) as f64 / arrived as f64,
            lost: (warm.spans + sent.spans).saturating_sub(seen + arrived),
            pushed_back: warm.pushed_back + sent.pushed_back,
        })
    }
}
