//! `cargo xtask soak`: a gateway under load whose backend dies and returns, over and over. Memory stays flat, the ledger
//! balances all along, and every span that was acknowledged is delivered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bench::pipeline::load::{Load, Sent};
use crate::bench::pipeline::program::{Program, Programs, Running, Setup};
use crate::bench::pipeline::sink::{Arrival, Sink, Tally};
use crate::bench::pipeline::spans::Requests;
use crate::bench::pipeline::{Compression, Wire, stopped};
use crate::bench::statistics::median;
use crate::project::{self, cargo, say, target};

/// What `cargo xtask test` takes time for.
pub(crate) const SHORT: Duration = Duration::from_secs(75);
const PER_REQUEST: usize = 50;
/// Spans a second.
const RATE: f64 = 5_000.0;
/// How long the backend lives, and how long it is dead then.
const ALIVE: Duration = Duration::from_secs(8);
const DEAD: Duration = Duration::from_secs(4);
/// By how many MB memory at the end may exceed that after a third.
const MAY_GROW: f64 = 4.0;
/// How long what waits may take to be delivered at the end.
const PATIENCE: Duration = Duration::from_mins(1);
const SETUP: Setup =
    Setup { output: Wire::Grpc, compression: Compression::None, edits: true, disk: true };

/// Soaks for a time. Unless a program is given, it is built for tests.
pub(crate) fn run(time: Duration, ursa: Option<PathBuf>) -> anyhow::Result<()> {
    let ursa = match ursa {
        Some(ursa) => ursa.canonicalize().context("find the program")?,
        None => {
            project::run(&mut cargo(&["build", "--package", "ursa"]))?;
            target().join("debug/ursa")
        }
    };
    let programs = Programs { ursa };
    say(&format!(
        "soak: a gateway for {} s, its backend dead every {:?}",
        time.as_secs(),
        ALIVE + DEAD
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = soak(&programs, time) => done,
            stopped = stopped() => stopped,
        }
    })
}

async fn soak(programs: &Programs, time: Duration) -> anyhow::Result<()> {
    let tally = Arc::new(Tally::default());
    tally.time();
    let backend = Sink::start(None, &tally).await?;
    let address = backend.address();
    let mut running = programs.start(Program::Ursa, SETUP, address).await?;
    let requests = Arc::new(Requests::new(PER_REQUEST));
    let mut load = Load::new(running.address(Wire::Grpc), Wire::Grpc, requests).await?;
    let status = running.status;

    let (sent, resident, backend) = {
        let watched = watch(&mut running, time);
        let lived = live(backend, &tally, time);
        tokio::try_join!(load.steady(RATE, time), watched, lived)?
    };
    tally.reaches(sent.spans, PATIENCE).await;
    let deadline = Instant::now() + PATIENCE;
    while balance(status).await? > 0 {
        ensure!(Instant::now() < deadline, "spans still wait");
        sleep(Duration::from_millis(100)).await;
    }
    load.close().await;
    running.process.stop().await?;
    drop(backend);

    let repeated = every_span(&tally.arrivals(), sent)?;
    let sixth = resident.len() / 6;
    let early = resident.get(sixth * 2..sixth * 3).map_or(f64::NAN, median);
    let late = resident.get(resident.len() - sixth..).map_or(f64::NAN, median);
    say(&format!(
        "soak: {} spans acknowledged and delivered, {repeated} of them more than once, {} requests pushed back; \
         {early:.1} MB after a third of the time, {late:.1} MB at the end",
        sent.spans, sent.pushed_back,
    ));
    ensure!(late <= early + MAY_GROW, "memory grew from {early:.1} MB to {late:.1} MB");
    Ok(())
}

/// Lets the backend die and return until the time is over; it is alive then.
async fn live(backend: Sink, tally: &Arc<Tally>, time: Duration) -> anyhow::Result<Sink> {
    let end = Instant::now() + time;
    let address = backend.address();
    let mut backend = backend;
    while Instant::now() + ALIVE + DEAD < end {
        sleep(ALIVE).await;
        drop(backend);
        sleep(DEAD).await;
        backend = Sink::start(Some(address), tally).await?;
    }
    Ok(backend)
}

/// MB held at each second. The ledger must balance every time.
async fn watch(running: &mut Running, time: Duration) -> anyhow::Result<Vec<f64>> {
    let end = Instant::now() + time;
    let mut resident = Vec::new();
    while Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
        balance(running.status).await.with_context(|| running.process.log())?;
        resident.push(running.process.usage()?.resident / 1e6);
    }
    Ok(resident)
}

/// Items that wait; fails where the ledger does not balance, or something was dropped.
async fn balance(status: SocketAddr) -> anyhow::Result<u64> {
    let fetched = tokio::task::spawn_blocking(move || -> anyhow::Result<Value> {
        Ok(ureq::get(format!("http://{status}/status")).call()?.body_mut().read_json()?)
    });
    let status = fetched.await?.context("read the status")?;
    let backends = status["telemetry"]["backends"].as_array().context("no backends")?;
    let mut waiting = 0;
    for backend in backends {
        let ledger = &backend["ledger"];
        let of_sources = backend["sources"].as_object().into_iter().flat_map(|all| all.values());
        for ledger in of_sources.chain([ledger]) {
            ensure!(ledger["difference"] == 0, "the ledger does not balance: {backend:#}");
            let dropped = ledger["dropped"].as_object();
            ensure!(
                dropped.is_none_or(serde_json::Map::is_empty),
                "spans were dropped: {backend:#}"
            );
        }
        waiting += ledger["waiting"].as_u64().context("no waiting")?;
        waiting += ledger["inFlight"].as_u64().context("no inFlight")?;
    }
    Ok(waiting)
}

/// Every request's spans must be there; how many came again.
fn every_span(arrivals: &[Arrival], sent: Sent) -> anyhow::Result<u64> {
    let mut requests: BTreeMap<u64, u64> = BTreeMap::new();
    for arrival in arrivals {
        *requests.entry(arrival.sent).or_default() += arrival.spans;
    }
    let expected = sent.spans / PER_REQUEST as u64;
    if requests.len() as u64 != expected {
        bail!("{expected} requests were acknowledged, {} came", requests.len());
    }
    let short = requests.values().filter(|spans| **spans < PER_REQUEST as u64).count();
    ensure!(short == 0, "{short} requests came with spans missing");
    Ok(requests.values().sum::<u64>() - sent.spans)
}
