//! Metrics sent as OTLP: collected by the clock, put into a channel of the pipeline, which has the queue, the
//! credentials and the retries.
//!
//! What counts from the last request on (`temporality: Delta`) is said once only. So what the pipeline has no room for is kept
//! and comes first the next time; until it is taken nothing is collected, and the next collection counts for all that time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use ursa_metrics::Counter;
use ursa_metrics::pipeline::{ACCEPTED_ITEMS, REFUSED_ITEMS};
use ursa_model::pipeline::metrics::Temporality;
use ursa_pipeline::{Received, Refusal, Signal, Sink as Pipeline};
use ursa_series::{Family, OtlpWriter, Point, Request, Sink, Source, Streams};

use super::gather::{Gather, Gone, Way, now};
use super::output::Output;

/// Who gives the pipeline these metrics, where receivers are named.
const RECEIVER: &str = "collection";
/// How long a collection may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Proxies that start together push at different moments, this far apart at most.
const SPREAD: Duration = Duration::from_secs(5);
/// How long the last push may take.
const LAST: Duration = Duration::from_secs(3);
/// Bytes of deltas that wait for room in the pipeline; more are lost.
const MAX_KEPT: usize = 16 * 1024 * 1024;
/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(100);

/// Pushes an output until it is dropped.
#[derive(Debug)]
pub(super) struct Pushing {
    output: Arc<Mutex<Arc<Output>>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    work: Option<JoinHandle<()>>,
    _ends: DropGuard,
}

impl Pushing {
    pub(super) fn start(
        output: &Arc<Output>,
        (gather, pipeline): (Arc<Gather>, Arc<dyn Pipeline>),
        tasks: &TaskTracker,
    ) -> Self {
        let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
        let output = Arc::new(Mutex::new(Arc::clone(output)));
        let changed = Arc::new(Notify::new());
        let pusher = Pusher {
            output: Arc::clone(&output),
            changed: Arc::clone(&changed),
            accepted: gather.registry().counter(&ACCEPTED_ITEMS).with(&["metrics", RECEIVER]),
            refused: gather.registry().counter(&REFUSED_ITEMS).with(&["metrics", RECEIVER]),
            gather,
            pipeline,
        };
        let (stopping, abandoned) = (stop.clone(), abandon.clone());
        let work = tasks.spawn(async move {
            abandoned.run_until_cancelled_owned(pusher.run(stopping)).await;
        });
        Self { output, changed, stop, work: Some(work), _ends: abandon.drop_guard() }
    }

    /// Goes on with an output that may be another one.
    pub(super) fn use_output(&mut self, output: &Arc<Output>) {
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(output);
        self.changed.notify_one();
    }

    /// Pushes once more, and ends.
    pub(super) async fn last(mut self) {
        self.stop.cancel();
        if let Some(work) = self.work.take()
            && timeout(LAST, work).await.is_err()
        {
            tracing::warn!("the last metrics were not collected in time");
        }
    }
}

struct Pusher {
    output: Arc<Mutex<Arc<Output>>>,
    changed: Arc<Notify>,
    gather: Arc<Gather>,
    pipeline: Arc<dyn Pipeline>,
    accepted: Counter,
    refused: Counter,
}

impl Pusher {
    async fn run(self, stop: CancellationToken) {
        let mut output = self.output();
        let mut streams = Streams::new(output.push().temporality);
        let mut kept = Kept::default();
        let mut interval = self.interval();
        let mut due = Instant::now() + interval.min(SPREAD).mul_f64(fastrand::f64());
        loop {
            let is_last = tokio::select! {
                () = sleep_until(due) => false,
                () = stop.cancelled() => true,
                () = self.changed.notified() => {
                    let next = self.output();
                    // It counts otherwise from now on.
                    if !Arc::ptr_eq(&next, &output) {
                        streams = Streams::new(next.push().temporality);
                    }
                    output = next;
                    let before = std::mem::replace(&mut interval, self.interval());
                    if interval != before {
                        due = due.min(Instant::now() + interval);
                    }
                    continue;
                }
            };
            // At the last moment there is no later one to count for this time.
            if self.send_kept(&output.name, &mut kept).await || is_last {
                self.push(&output, &mut streams, &mut kept).await;
            }
            if is_last {
                kept.lose(&output.name);
                return;
            }
            due = (due + interval).max(Instant::now());
        }
    }

    fn output(&self) -> Arc<Output> {
        Arc::clone(&self.output.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.output().push().interval_ms).max(SHORTEST)
    }

    async fn push(&self, output: &Output, streams: &mut Streams, kept: &mut Kept) {
        let task = output.task();
        let mut shape = output.shape.lock().await;
        let is_native = output.push().is_native();
        let keeps = streams.temporality() == Temporality::Delta;
        let writer = OtlpWriter::new(streams, now());
        let way = Requests { writer, pusher: self, name: &output.name, kept, keeps };
        let deadline = Instant::now() + PATIENCE;
        let collected =
            self.gather.collect(&output.name, &task, &mut shape, way, is_native, deadline).await;
        drop(shape);
        let Some((Requests { writer, kept, .. }, outcome)) = collected else { return };
        self.send(&output.name, writer.finish(), keeps.then_some(kept)).await;
        output.note(outcome);
    }

    /// Sends what was refused before; whether all of it is gone.
    async fn send_kept(&self, channel: &str, kept: &mut Kept) -> bool {
        while let Some(request) = kept.requests.front() {
            match self.offer(channel, request).await {
                Err(Refusal::Full { .. } | Refusal::Unavailable { .. }) => return false,
                // It was taken, or will never be.
                Ok(()) | Err(_) => kept.forget_first(),
            }
        }
        true
    }

    async fn send(&self, channel: &str, requests: Vec<Request>, mut kept: Option<&mut Kept>) {
        for request in requests {
            let offered = self.offer(channel, &request).await;
            if let Err(Refusal::Full { .. } | Refusal::Unavailable { .. }) = offered
                && let Some(kept) = &mut kept
            {
                kept.keep(request, channel);
            }
        }
    }

    async fn offer(&self, channel: &str, request: &Request) -> Result<(), Refusal> {
        let &Request { ref bytes, items } = request;
        let received = Received::otlp(Signal::Metrics, bytes.clone(), items, &RECEIVER.into());
        let received = Received { channel: Some(channel.into()), ..received };
        let offered = self.pipeline.accept(received).await;
        match &offered {
            Ok(()) => self.accepted.inc_by(items as u64),
            Err(error) => {
                self.refused.inc_by(items as u64);
                tracing::debug!(output = channel, %error, "metrics were not taken");
            }
        }
        offered
    }
}

/// Deltas that were refused for now.
#[derive(Debug, Default)]
struct Kept {
    requests: VecDeque<Request>,
    bytes: usize,
}

impl Kept {
    fn keep(&mut self, request: Request, output: &str) {
        let bytes = self.bytes.saturating_add(request.bytes.len());
        if bytes > MAX_KEPT {
            tracing::warn!(output, items = request.items, "deltas are lost: too many wait");
            return;
        }
        self.bytes = bytes;
        self.requests.push_back(request);
    }

    fn forget_first(&mut self) {
        let gone = self.requests.pop_front().map_or(0, |request| request.bytes.len());
        self.bytes = self.bytes.saturating_sub(gone);
    }

    /// Nobody will send them.
    fn lose(self, output: &str) {
        let items: usize = self.requests.iter().map(|request| request.items).sum();
        if items > 0 {
            tracing::warn!(output, items, "deltas are lost: the pipeline did not take them");
        }
    }
}

/// A collection as requests that go into the pipeline as they are complete.
struct Requests<'a> {
    writer: OtlpWriter<'a>,
    pusher: &'a Pusher,
    name: &'a str,
    kept: &'a mut Kept,
    /// Whether what is refused is said in no later collection.
    keeps: bool,
}

impl Sink for Requests<'_> {
    fn family(&mut self, family: &Family<'_>) -> bool {
        self.writer.family(family)
    }

    fn point(&mut self, point: &Point<'_>) {
        self.writer.point(point);
    }

    fn end(&mut self) {
        self.writer.end();
    }
}

impl Way for Requests<'_> {
    fn from(&mut self, source: Source) {
        self.writer.from(source);
    }

    fn shows_target(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let ready = self.writer.take();
        if !ready.is_empty() {
            self.pusher.send(self.name, ready, self.keeps.then_some(&mut *self.kept)).await;
        }
        Ok(())
    }
}
