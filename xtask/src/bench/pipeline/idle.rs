//! What is held while nothing happens, and how long a span takes while little does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::load::Load;
use super::program::{Program, Programs, Setup};
use super::sink::{Arrival, Sink, Tally};
use super::spans::Requests;
use super::{Compression, Wire};
use crate::bench::statistics::percentile;

const SETUP: Setup =
    Setup { output: Wire::Grpc, compression: Compression::None, edits: false, disk: false };
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(10);
/// Spans a second, ten in each request.
const RATE: f64 = 2_000.0;
const PER_REQUEST: usize = 10;
/// How long a batch of any of the programs waits at most, as they come.
pub(crate) const BATCH_MILLISECONDS: f64 = 200.0;

/// How long spans were under way, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delay {
    /// The middle.
    pub(crate) median: f64,
    /// All but one of a hundred.
    pub(crate) p99: f64,
    /// The longest.
    pub(crate) most: f64,
}

impl Delay {
    /// Of what arrived; NaN of nothing.
    pub(crate) fn of(arrivals: impl Iterator<Item = Arrival>) -> Self {
        let series: Vec<f64> = arrivals.map(|arrival| arrival.milliseconds()).collect();
        let at = |share| percentile(&series, share);
        Self { median: at(0.5), p99: at(0.99), most: at(1.0) }
    }
}

/// MB held after ten seconds of nothing.
pub(crate) async fn memory(programs: &Programs, program: Program) -> anyhow::Result<f64> {
    let sink = Sink::start(None, &Arc::default()).await?;
    let mut running = programs.start(program, SETUP, sink.address()).await?;
    sleep(QUIET).await;
    let usage = running.process.usage()?;
    running.process.stop().await?;
    Ok(usage.resident / 1e6)
}

/// The delay at a steady, moderate rate, gRPC in and out.
pub(crate) async fn delay(
    programs: &Programs,
    program: Program,
    time: Duration,
) -> anyhow::Result<Delay> {
    let tally = Arc::new(Tally::default());
    let sink = Sink::start(None, &tally).await?;
    let running = programs.start(program, SETUP, sink.address()).await?;
    let requests = Arc::new(Requests::new(PER_REQUEST));
    let mut load = Load::new(running.address(Wire::Grpc), Wire::Grpc, requests).await?;
    let warm = load.steady(RATE, Duration::from_secs(2)).await?;
    tally.reaches(warm.spans, Duration::from_secs(5)).await;
    tally.time();
    let sent = load.steady(RATE, time).await?;
    tally.reaches(warm.spans + sent.spans, Duration::from_secs(5)).await;
    load.close().await;
    running.process.stop().await?;
    Ok(Delay::of(tally.arrivals().into_iter()))
}
