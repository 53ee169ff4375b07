//! A backend that was dead while spans came, and returns: how fast it gets what waited, and how long new spans take
//! meanwhile.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::idle::Delay;
use super::load::Load;
use super::program::{Program, Programs, Setup};
use super::sink::{Arrival, Sink, Tally, now};
use super::spans::Requests;
use super::{Compression, Wire};

/// What keeps its queue on disk.
pub(crate) const PROGRAMS: &[Program] = &[Program::Ursa, Program::CollectorUnsynced];

const SETUP: Setup =
    Setup { output: Wire::Grpc, compression: Compression::None, edits: false, disk: true };
const PER_REQUEST: usize = 100;
/// New spans a second while the rest drains.
const RATE: f64 = 5_000.0;
/// How long all of it may take after the return.
const PATIENCE: Duration = Duration::from_mins(5);

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drain {
    /// Spans that had waited and came, by the second.
    pub(crate) speed: f64,
    /// Seconds from the backend's return until the first came.
    pub(crate) noticed: f64,
    /// Of the spans sent while the rest drained.
    pub(crate) new: Delay,
    /// Spans that never came.
    pub(crate) lost: u64,
    /// Spans that came more than once.
    pub(crate) repeated: u64,
    /// The most memory, in MB.
    pub(crate) peak: f64,
}

/// Queues so many spans before a dead backend, at a rate, then brings it to life.
pub(crate) async fn measure(
    programs: &Programs,
    program: Program,
    spans: usize,
    rate: f64,
) -> anyhow::Result<Drain> {
    let tally = Arc::new(Tally::default());
    tally.time();
    let dead = Sink::start(None, &tally).await?;
    let backend = dead.address();
    let mut running = programs.start(program, SETUP, backend).await?;
    let requests = Arc::new(Requests::new(PER_REQUEST));
    let address = running.address(Wire::Grpc);
    let mut load = Load::new(address, Wire::Grpc, Arc::clone(&requests)).await?;
    drop(dead);
    let queued = load
        .steady(rate, Duration::from_secs_f64(spans as f64 / rate))
        .await
        .with_context(|| running.process.log())?;
    let before = tally.spans();
    ensure!(before == 0, "{before} spans reached a dead backend");

    let returned = now();
    let _alive = Sink::start(Some(backend), &tally).await?;
    let deadline = Instant::now() + PATIENCE;
    let mut sent = queued.spans;
    loop {
        sent += load.steady(RATE, Duration::from_secs(1)).await?.spans;
        let waited: u64 = old(&tally.arrivals(), returned).map(|arrival| arrival.spans).sum();
        if waited >= queued.spans || Instant::now() > deadline {
            break;
        }
    }
    tally.reaches(sent, Duration::from_secs(10)).await;
    sleep(Duration::from_millis(500)).await;
    let usage = running.process.usage()?;
    load.close().await;
    running.process.stop().await?;

    let arrivals = tally.arrivals();
    let first = old(&arrivals, returned).map(|arrival| arrival.arrived).min().unwrap_or(returned);
    let last = old(&arrivals, returned).map(|arrival| arrival.arrived).max().unwrap_or(returned);
    let drained: u64 = old(&arrivals, returned).map(|arrival| arrival.spans).sum();
    let meanwhile = arrivals.iter().filter(|arrival| (first..=last).contains(&arrival.sent));
    Ok(Drain {
        speed: drained as f64 / (last - first) as f64 * 1e9,
        noticed: (first - returned) as f64 / 1e9,
        new: Delay::of(meanwhile.copied()),
        lost: sent.saturating_sub(tally.spans()),
        repeated: tally.spans().saturating_sub(sent),
        peak: usage.peak / 1e6,
    })
}

fn old(arrivals: &[Arrival], returned: u64) -> impl Iterator<Item = &Arrival> {
    arrivals.iter().filter(move |arrival| arrival.sent < returned)
}
