//! One backend of one signal: its queue, its exporter, and the task that moves from one to the
//! other.
//!
//! Batches go one at a time and in order. What becomes of each is counted once: sent, or dropped
//! with a reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::export::{Again, Exporter, Failure, Outcome, Payload};
use crate::meters::{Loss, Meters};
use crate::queue::{Batch, PushError, Queue};
use crate::status::{BackendState, BackendStatus, BreakerStatus, Storage};
use crate::{Form, Ledger, Signal};

/// How often a blocked backend looks whether it still is.
const BLOCKED_AGAIN: Duration = Duration::from_secs(5);

/// One backend of one signal.
#[derive(Debug)]
pub(crate) struct Backend {
    name: String,
    signal: Signal,
    queue: Queue,
    meters: Meters,
    health: Mutex<Health>,
    orders: watch::Sender<Orders>,
    cut: CancellationToken,
}

/// What the task is to do; a change ends its pauses.
#[derive(Debug, Clone)]
struct Orders {
    exporter: Arc<Exporter>,
    /// What waits is to be sent now, because the pipeline stops.
    flush: bool,
}

/// What the status shows.
#[derive(Debug)]
struct Health {
    state: BackendState,
    last_error: Option<String>,
    enqueued: u64,
    sent: u64,
    dropped: BTreeMap<&'static str, u64>,
}

impl Backend {
    /// `cut` ends it, too.
    pub(crate) fn new(
        name: String,
        signal: Signal,
        capacity: usize,
        exporter: Exporter,
        meters: Meters,
        cut: CancellationToken,
    ) -> Self {
        meters.announce(exporter.protocol());
        let health = Health {
            state: BackendState::Idle,
            last_error: None,
            enqueued: 0,
            sent: 0,
            dropped: Loss::ALL.map(|loss| (loss.name(), 0)).into(),
        };
        let orders = Orders { exporter: Arc::new(exporter), flush: false };
        let backend = Self {
            name,
            signal,
            queue: Queue::new(capacity),
            meters,
            health: Mutex::new(health),
            orders: watch::Sender::new(orders),
            cut,
        };
        backend.show_queue();
        backend
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Stores a request for this backend.
    pub(crate) async fn push(&self, request: Bytes, items: usize) -> Result<(), PushError> {
        self.queue.push(request, items).await?;
        self.enqueued(items);
        self.show_queue();
        Ok(())
    }

    /// Counts a request that this backend had no room for and another took.
    pub(crate) fn lose(&self, items: usize) {
        self.enqueued(items);
        self.dropped(self.exporter().protocol(), Loss::QueueFull, items);
    }

    /// Goes on with another exporter, and with a queue of another size.
    pub(crate) fn replace(&self, exporter: Exporter, capacity: usize) {
        self.meters.announce(exporter.protocol());
        self.queue.resize(capacity);
        self.orders.send_modify(|orders| orders.exporter = Arc::new(exporter));
        self.show_queue();
    }

    /// Takes no more, sends what waits, and ends.
    pub(crate) fn close(&self) {
        self.queue.close();
        self.orders.send_modify(|orders| orders.flush = true);
    }

    /// Ends, giving up what waits.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Nothing waits, and nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.waiting().items == 0
    }

    /// Shows how much waits and for how long.
    pub(crate) fn show_queue(&self) {
        self.meters.queue(&self.queue.waiting());
    }

    /// Forgets the gauges of a backend that is gone.
    pub(crate) fn forget(&self) {
        self.meters.forget();
    }

    pub(crate) fn status(&self, removed: bool) -> BackendStatus {
        let exporter = self.exporter();
        let health = self.health();
        let waiting = self.queue.waiting();
        BackendStatus {
            name: self.name.clone(),
            signal: self.signal,
            protocol: exporter.protocol().to_owned(),
            endpoint: exporter.endpoint(),
            state: health.state,
            removed,
            breaker: BreakerStatus::default(),
            in_flight_items: 0,
            storage: Storage::Memory,
            storage_path: None,
            ledger: Ledger::default().balanced(),
            sources: BTreeMap::new(),
            waiting_items: waiting.items,
            waiting_bytes: waiting.bytes,
            capacity_bytes: waiting.capacity,
            oldest_seconds: waiting.oldest.unwrap_or_default().as_secs_f64(),
            enqueued_items: health.enqueued,
            sent_items: health.sent,
            dropped_items: health
                .dropped
                .iter()
                .map(|(name, lost)| ((*name).to_owned(), *lost))
                .collect(),
            last_error: health.last_error.clone(),
        }
    }

    /// Moves batches from the queue to the backend until closed and empty, or cut.
    pub(crate) async fn run(self: Arc<Self>) {
        self.cut.run_until_cancelled(self.deliver_all()).await;
        // Nothing may be taken that nobody sends.
        self.queue.close();
        let lost = self.queue.clear();
        if lost > 0 {
            self.dropped(self.exporter().protocol(), Loss::Expired, lost);
            error!(backend = %self.name, signal = %self.signal, items = lost, "telemetry lost: gave up what waited");
        }
        self.show_queue();
    }

    async fn deliver_all(&self) {
        while let Some(batch) = self.queue.next().await {
            self.deliver(&batch).await;
        }
    }

    /// Delivers one batch or counts its loss.
    async fn deliver(&self, batch: &Batch) {
        let mut orders = self.orders.subscribe();
        let mut failures = 0_u32;
        let payload = Payload {
            signal: self.signal,
            form: Form::Otlp,
            requests: batch.requests.clone(),
            items: batch.items,
            bytes: batch.bytes,
        };
        loop {
            let exporter = Arc::clone(&orders.borrow_and_update().exporter);
            let protocol = exporter.protocol();
            if failures > 0 {
                self.meters.retry(protocol);
            }
            let started = Instant::now();
            let outcome = exporter.send(&payload).await;
            let pause = match outcome {
                Outcome::Delivered { rejected, message } => {
                    self.meters.request(protocol, success(protocol), started.elapsed());
                    return self.delivered(protocol, batch, rejected, &message);
                }
                Outcome::Blocked(reason) => {
                    self.troubled(BackendState::Blocked, reason);
                    BLOCKED_AGAIN
                }
                Outcome::Failed(failure) => {
                    failures = failures.saturating_add(1);
                    self.meters.request(protocol, &failure.code, started.elapsed());
                    self.meters.failed(protocol, failure.reason, batch.items);
                    let pause = match failure.again {
                        Again::Never => None,
                        Again::Later(asked) => {
                            exporter.backoff().pause(failures, asked, fastrand::f64())
                        }
                    };
                    let loss = match failure.again {
                        Again::Never => Loss::Rejected,
                        Again::Later(_) => Loss::RetryExhausted,
                    };
                    match pause {
                        Some(pause) => {
                            self.failed(failure, pause);
                            pause
                        }
                        None => return self.lost(protocol, batch, loss, failure),
                    }
                }
            };
            // Other orders are a reason to try at once; so is the pipeline's end.
            if let Ok(Ok(())) = timeout(pause, orders.changed()).await {
                failures = 0;
            }
        }
    }

    fn delivered(&self, protocol: &str, batch: &Batch, rejected: usize, message: &str) {
        let rejected = rejected.min(batch.items);
        let sent = batch.items - rejected;
        self.meters.sent(protocol, sent, batch.bytes);
        self.meters.up(true);
        {
            let mut health = self.health();
            if matches!(health.state, BackendState::Down | BackendState::Blocked) {
                info!(backend = %self.name, signal = %self.signal, "backend is back");
            }
            health.state = BackendState::Up;
            health.sent += sent as u64;
            health.last_error = (rejected > 0).then(|| message.to_owned());
        }
        if rejected > 0 {
            self.dropped(protocol, Loss::Rejected, rejected);
            error!(backend = %self.name, signal = %self.signal, items = rejected, %message, "telemetry lost: the backend rejected it");
        } else if !message.is_empty() {
            warn!(backend = %self.name, signal = %self.signal, %message, "the backend warns");
        }
        self.done(batch);
    }

    fn lost(&self, protocol: &str, batch: &Batch, loss: Loss, failure: Failure) {
        self.dropped(protocol, loss, batch.items);
        error!(backend = %self.name, signal = %self.signal, items = batch.items, reason = loss.name(), error = %failure.message, "telemetry lost: the backend did not take it");
        self.troubled(BackendState::Down, failure.message);
        self.done(batch);
    }

    fn failed(&self, failure: Failure, pause: Duration) {
        debug!(backend = %self.name, signal = %self.signal, error = %failure.message, ?pause, "export failed; trying again");
        self.troubled(BackendState::Down, failure.message);
    }

    /// Notes why nothing gets through, and says so once.
    fn troubled(&self, state: BackendState, reason: String) {
        self.meters.up(false);
        let mut health = self.health();
        if health.state != state {
            warn!(backend = %self.name, signal = %self.signal, error = %reason, "nothing gets through to the backend; telemetry waits");
        }
        health.state = state;
        health.last_error = Some(reason);
    }

    fn done(&self, batch: &Batch) {
        self.queue.done(batch);
        self.show_queue();
    }

    fn enqueued(&self, items: usize) {
        self.meters.enqueued(items);
        self.health().enqueued += items as u64;
    }

    fn dropped(&self, protocol: &str, loss: Loss, items: usize) {
        self.meters.dropped(protocol, loss, items);
        *self.health().dropped.entry(loss.name()).or_default() += items as u64;
    }

    fn exporter(&self) -> Arc<Exporter> {
        Arc::clone(&self.orders.borrow().exporter)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The code of a request that succeeded.
fn success(protocol: &str) -> &'static str {
    if protocol == "grpc" { "0" } else { "200" }
}
