//! One backend of one signal: its queue with the ledger, its exporter, and the task that moves from
//! one to the other ([`dispatch`]).

mod breaker;
mod dispatch;
mod gate;
mod health;
mod parcel;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use ursa_queue::{Dropped, PushError, Queue, Record};

use crate::audit::{Ending, Trail};
use crate::export::Exporter;
use crate::ledger::{Account, Loss, Sources};
use crate::meters::{Meters, ProtocolMeters};
use crate::status::{BackendStatus, Storage};
use crate::{Form, Signal};
use dispatch::Dispatch;
use health::Health;

/// So much may wait before senders are slowed down: a few batches. A queue on disk has it in memory, too.
const CROWD_BYTES: u64 = 4 << 20;

/// How long the disk may take at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// One backend of one signal.
#[derive(Debug)]
pub(crate) struct Backend {
    name: Arc<str>,
    signal: Signal,
    account: Account,
    /// Of a queue on disk.
    directory: Option<PathBuf>,
    meters: Meters,
    health: Health,
    /// The last that it was sent it took.
    flows: AtomicBool,
    orders: watch::Sender<Orders>,
    trail: Arc<Trail>,
    cut: CancellationToken,
}

/// What a backend is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: Arc<str>,
    pub(crate) signal: Signal,
    pub(crate) queue: Queue,
    /// Of a queue on disk.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) exporter: Exporter,
    pub(crate) max_age: Option<Duration>,
    pub(crate) meters: Meters,
    pub(crate) trail: Arc<Trail>,
    /// Ends it.
    pub(crate) cut: CancellationToken,
}

/// What the task is to do; a change ends its pauses.
#[derive(Debug, Clone)]
struct Orders {
    outlet: Arc<Outlet>,
    /// What waits is to be sent now, because the pipeline stops.
    flush: bool,
}

/// An exporter with its metrics.
#[derive(Debug)]
struct Outlet {
    exporter: Exporter,
    meters: ProtocolMeters,
    /// What has waited for longer is given up.
    max_age: Option<Duration>,
}

impl Backend {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { name, signal, queue, directory, exporter, max_age, meters, trail, cut } = parts;
        let protocol = meters.of_protocol(exporter.protocol());
        let outlet = Arc::new(Outlet { exporter, meters: protocol, max_age });
        let backend = Self {
            name,
            signal,
            account: Account::new(queue),
            directory,
            meters,
            health: Health::default(),
            flows: AtomicBool::new(false),
            orders: watch::Sender::new(Orders { outlet, flush: false }),
            trail,
            cut,
        };
        backend.show();
        backend
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Whether what waits is there again after a restart.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.directory.is_some()
    }

    /// Whether it is sent telemetry of this form as it is.
    pub(crate) fn takes(&self, form: Form) -> bool {
        form == Form::Otlp || self.outlet().exporter.takes(form)
    }

    /// Bytes that its queue holds at most.
    pub(crate) fn capacity(&self) -> u64 {
        self.account.queue().counts().capacity
    }

    /// Stores a request for this backend. Returns its number in the queue.
    pub(crate) async fn push(
        &self,
        source: u16,
        form: Form,
        request: Bytes,
        items: usize,
    ) -> Result<u64, PushError> {
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        let record = Record { form: form as u8, source, items, bytes: request };
        self.account.queue().push(record).await
    }

    /// Whether more waits than it needs to be kept busy, though it takes what it is sent.
    pub(crate) fn is_crowded(&self) -> bool {
        self.flows.load(Ordering::Relaxed) && self.account.queue().is_crowded(CROWD_BYTES)
    }

    /// Waits until less waits.
    pub(crate) async fn room(&self) {
        self.account.queue().room(CROWD_BYTES).await;
    }

    /// Counts a request that another backend's queue took and this one's did not.
    pub(crate) fn lose(&self, source: u16, items: usize, loss: Loss) {
        self.account.lose(source, items as u64, loss);
        if self.health.begins_to_lose() {
            error!(backend = %self.name, signal = %self.signal, reason = loss.name(), "telemetry lost: the backend's queue does not take it, and other backends' do");
        }
        self.show();
    }

    /// Counts what processors took out of a request that was stored.
    pub(crate) fn filter<'a>(
        &self,
        source: u16,
        filtered: impl Iterator<Item = (&'a Arc<str>, u64)>,
    ) {
        self.account.filter(source, filtered);
    }

    /// Goes on with another exporter, and with a queue of other bounds.
    pub(crate) fn replace(&self, exporter: Exporter, capacity: u64, max_age: Option<Duration>) {
        self.show();
        let meters = self.meters.of_protocol(exporter.protocol());
        let queue = self.account.queue();
        queue.resize(capacity);
        queue.set_max_age(max_age);
        let outlet = Arc::new(Outlet { exporter, meters, max_age });
        self.orders.send_modify(|orders| orders.outlet = outlet);
        self.show();
    }

    /// Takes no more, sends what waits, and ends. What then waits on disk stays there.
    pub(crate) fn close(&self) {
        self.account.queue().close();
        self.orders.send_modify(|orders| orders.flush = true);
    }

    /// Ends, giving up what waits in memory.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Nothing waits, and nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.account.queue().is_empty()
    }

    /// Items in its queue.
    pub(crate) fn waiting(&self) -> u64 {
        let counts = self.account.queue().counts();
        counts.waiting_items + counts.in_flight_items
    }

    /// Gives up what has waited too long, and shows how all stands.
    pub(crate) fn tick(&self) {
        self.expire();
        self.show();
    }

    /// Gives up what has waited too long.
    fn expire(&self) {
        let expired = self.account.expire(Instant::now());
        self.gave_up(&expired, Loss::Expired, "telemetry lost: it waited too long");
    }

    /// Says what was given up without having been sent.
    fn gave_up(&self, dropped: &Dropped, loss: Loss, why: &str) {
        if dropped.items == 0 {
            return;
        }
        error!(backend = %self.name, signal = %self.signal, items = dropped.items, reason = loss.name(), "{why}");
        if self.signal == Signal::Traces {
            let numbers = dropped.numbers.iter().cloned();
            self.trail.settled(&self.name, numbers, Ending::Dropped(loss));
        }
    }

    /// Forgets the gauges of a backend that is gone.
    pub(crate) fn forget(&self) {
        self.meters.forget();
    }

    /// What an operator should know though telemetry flows.
    pub(crate) async fn warning(&self) -> Option<String> {
        let warning = self.outlet().exporter.warning().await?;
        Some(format!("backend {}: {warning}", self.name))
    }

    pub(crate) fn status(&self, removed: bool, sources: &Sources) -> BackendStatus {
        let outlet = self.outlet();
        let statement = self.account.statement();
        self.meters.show(&statement, &outlet.meters);
        let (counts, ledger) = (statement.counts, statement.total);
        let health = self.health.shown();
        let dropped = Loss::ALL.map(|loss| (loss.name().to_owned(), 0));
        let mut dropped_items: BTreeMap<String, u64> = dropped.into();
        dropped_items.extend(ledger.dropped.clone());
        let filtered: u64 = ledger.filtered.values().sum();
        let in_bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        BackendStatus {
            name: self.name.to_string(),
            signal: self.signal,
            protocol: outlet.exporter.protocol().to_owned(),
            endpoint: outlet.exporter.endpoint(),
            state: health.state,
            breaker: health.breaker.status(Instant::now()),
            removed,
            waiting_items: in_bytes(ledger.waiting + ledger.in_flight),
            in_flight_items: in_bytes(ledger.in_flight),
            waiting_bytes: in_bytes(counts.stored_bytes),
            capacity_bytes: in_bytes(counts.capacity),
            oldest_seconds: counts.oldest.unwrap_or_default().as_secs_f64(),
            storage: if self.is_on_disk() { Storage::Disk } else { Storage::Memory },
            storage_path: self.directory.as_ref().map(|path| path.display().to_string()),
            enqueued_items: ledger.received - filtered - ledger.merged,
            sent_items: ledger.delivered,
            dropped_items,
            sources: {
                let named = statement.sources.into_iter();
                named.map(|(number, ledger)| (sources.name(number).to_string(), ledger)).collect()
            },
            ledger,
            last_error: health.last_error,
        }
    }

    /// Moves batches from the queue to the backend until closed and empty, or cut. Says how many
    /// items were given up at the end: what waited in memory.
    pub(crate) async fn run(self: Arc<Self>) -> u64 {
        Dispatch::new(Arc::clone(&self)).run().await;
        // Nothing may be taken that nobody sends.
        self.account.queue().close();
        let lost = if self.is_on_disk() { Dropped::default() } else { self.account.clear() };
        let error = match timeout(FLUSH, self.account.queue().flush()).await {
            Ok(flushed) => flushed.err().map(|error| error.to_string()),
            Err(_) => Some(format!("the disk did not answer within {FLUSH:?}")),
        };
        if let Some(error) = error {
            warn!(backend = %self.name, signal = %self.signal, %error, "what was sent last may be sent again after a restart");
        }
        self.gave_up(&lost, Loss::Expired, "telemetry lost: gave up what waited");
        self.show();
        lost.items
    }

    fn show(&self) {
        self.meters.show(&self.account.statement(), &self.outlet().meters);
    }

    fn outlet(&self) -> Arc<Outlet> {
        Arc::clone(&self.orders.borrow().outlet)
    }
}
