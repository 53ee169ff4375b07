//! A steady load of real HTTP requests on the demo's gateway.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// What the figures are about.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests in flight at once; beyond it a tick is left out.
const MAX_IN_FLIGHT: usize = 512;

/// A running load. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Load {
    results: Arc<Mutex<VecDeque<Sample>>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    took: Duration,
    failed: bool,
}

/// What the client saw within the last seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Answers per second.
    pub(crate) rate: f64,
    /// Shares of answers that were errors: 5xx, or none at all.
    pub(crate) errors: f64,
    /// Median, milliseconds.
    pub(crate) p50: f64,
    /// 99th percentile, milliseconds.
    pub(crate) p99: f64,
}

impl Load {
    /// Begins to ask `port` `rps` times a second: every second request orders something, the others look around.
    pub(crate) fn start(port: u16, rps: f64) -> Self {
        let results = Arc::new(Mutex::new(VecDeque::new()));
        let mut tasks = JoinSet::new();
        if rps > 0.0 {
            tasks.spawn(run(port, rps, Arc::clone(&results)));
        }
        Self { results, _tasks: tasks }
    }

    /// The figures of the last ten seconds.
    pub(crate) fn seen(&self) -> Seen {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        seen(&results, Instant::now())
    }
}

fn seen(results: &VecDeque<Sample>, now: Instant) -> Seen {
    let recent: Vec<_> =
        results.iter().filter(|sample| now.duration_since(sample.at) <= WINDOW).collect();
    let Some(first) = recent.first() else { return Seen::default() };
    let mut times: Vec<_> = recent.iter().map(|sample| sample.took).collect();
    times.sort_unstable();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length is an index"
        )]
        let index = ((times.len() - 1) as f64 * share).round() as usize;
        times.get(index).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    let span = now.duration_since(first.at).as_secs_f64().max(1.0);
    Seen {
        rate: recent.len() as f64 / span,
        errors: recent.iter().filter(|sample| sample.failed).count() as f64 / recent.len() as f64,
        p50: at(0.5),
        p99: at(0.99),
    }
}

async fn run(port: u16, rps: f64, results: Arc<Mutex<VecDeque<Sample>>>) {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rps));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut flying = JoinSet::new();
    let mut count = 0_u64;
    loop {
        ticks.tick().await;
        while flying.try_join_next().is_some() {}
        if flying.len() >= MAX_IN_FLIGHT {
            continue;
        }
        count += 1;
        let (method, path) =
            if count.is_multiple_of(2) { (Method::GET, "/") } else { (Method::POST, "/checkout") };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{port}{path}"))
            .header("user-agent", "ursa-demo")
            .body(Body::empty());
        let Ok(request) = request else { return };
        let answer = client.request(request);
        let results = Arc::clone(&results);
        flying.spawn(async move {
            let at = Instant::now();
            let whole = async {
                let response = answer.await.ok()?;
                let status = response.status();
                response.into_body().collect().await.ok()?;
                Some(status)
            };
            let status = timeout(TIMEOUT, whole).await.ok().flatten();
            let now = Instant::now();
            let sample = Sample {
                at: now,
                took: at.elapsed(),
                failed: status.is_none_or(|s| s.is_server_error()),
            };
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.push_back(sample);
            while results.front().is_some_and(|first| now.duration_since(first.at) > WINDOW) {
                results.pop_front();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn figures_are_of_the_last_ten_seconds() {
        let mut samples = VecDeque::new();
        let sample =
            |at, millis, failed| Sample { at, took: Duration::from_millis(millis), failed };
        samples.push_back(sample(Instant::now(), 9_000, true));
        tokio::time::advance(Duration::from_secs(11)).await;
        for millis in 1..=100 {
            samples.push_back(sample(Instant::now(), millis, millis == 100));
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let seen = seen(&samples, Instant::now());
        assert!((seen.rate - 20.0).abs() < 0.1, "{seen:?}");
        assert!((seen.errors - 0.01).abs() < 1e-9, "{seen:?}");
        assert!((seen.p50 - 50.0).abs() <= 1.0 && (seen.p99 - 99.0).abs() <= 1.0, "{seen:?}");
    }
}
