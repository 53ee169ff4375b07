//! Moving batches from a queue to its backend.
//!
//! A batch is due at [`BATCH_BYTES`] or when its first request has waited [`BATCH_AGE`]. Several are
//! in flight, and settled in whatever order they come back; of metrics one, since their order
//! matters. When one fails, none is sent for a while, then one alone: it is held, without its
//! contents, until it gets through or is given up; the others are back in the queue. When it gets
//! through and much waits by then, that becomes a lane of its own: one batch in flight is always of
//! what is received now, so that nothing new is delayed behind hours of backlog.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};
use ursa_queue::{Due, Lane, Want};

use super::breaker::Breaker;
use super::gate::Gate;
use super::parcel::{Parcel, Report};
use super::{Backend, Orders, Outlet};
use crate::Signal;
use crate::audit::Ending;
use crate::export::{Again, Backoff, Failure, Reason};
use crate::ledger::{Fate, Loss};
use crate::status::BackendState;

/// A batch of this size is sent without waiting for more.
const BATCH_BYTES: u64 = 1 << 20;
/// No batch of several requests is larger; receivers commonly admit 4 MiB.
const MAX_BATCH_BYTES: u64 = 2 << 20;
/// How long batches stay as small as a backend wanted them. Thereafter it is asked again, since its
/// settings, or those of a proxy before it, may be others by then.
const SMALLER_FOR: Duration = Duration::from_mins(10);
/// How long a request waits for others to go with.
const BATCH_AGE: Duration = Duration::from_millis(200);
/// Batches in flight.
const IN_FLIGHT: usize = 4;
/// From so many bytes on, what waits when a backend returns gets a lane of its own.
const BACKLOG_BYTES: u64 = 4 * BATCH_BYTES;
/// How long nothing is tried that something here prevents.
const BLOCKED_FOR: Duration = Duration::from_secs(5);
/// How long nothing is read that could not be read.
const UNREADABLE_FOR: Duration = Duration::from_secs(1);

/// What a backend's task knows.
pub(super) struct Dispatch {
    backend: Arc<Backend>,
    orders: watch::Receiver<Orders>,
    outlet: Arc<Outlet>,
    flush: bool,
    sends: JoinSet<(Parcel, Report)>,
    /// Sends of each [`Lane`].
    in_flight: [usize; 2],
    /// The batch that failed and is tried again first.
    held: Option<Parcel>,
    gate: Gate,
    breaker: Breaker,
    /// There may be two lanes.
    split: bool,
    /// Batches of several requests are no larger, as the backend says.
    max_bytes: u64,
    /// Until then.
    smaller_until: Instant,
}

impl Dispatch {
    pub(super) fn new(backend: Arc<Backend>) -> Self {
        let mut orders = backend.orders.subscribe();
        let Orders { outlet, flush } = orders.borrow_and_update().clone();
        Self {
            orders,
            outlet,
            flush,
            sends: JoinSet::new(),
            in_flight: [0; 2],
            held: None,
            gate: Gate::Open,
            breaker: Breaker::default(),
            split: false,
            max_bytes: MAX_BATCH_BYTES,
            smaller_until: Instant::now(),
            backend,
        }
    }

    /// Until the queue is closed and empty, or the backend is cut off.
    pub(super) async fn run(mut self) {
        let backend = Arc::clone(&self.backend);
        self.split_backlog();
        loop {
            self.launch();
            if self.is_done() {
                break;
            }
            let (wake, on_change) = self.wake();
            tokio::select! {
                biased;
                () = backend.cut.cancelled() => break,
                Ok(()) = self.orders.changed() => self.ordered(),
                Some(back) = self.sends.join_next() => match back {
                    Ok((parcel, report)) => self.came_back(parcel, report),
                    Err(error) => self.broke(&error),
                },
                () = backend.account.queue().changed(), if on_change => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
        drop(self.take_held());
        self.sends.shutdown().await;
    }

    /// Sends what may be sent.
    fn launch(&mut self) {
        let now = Instant::now();
        self.gate.tick(now);
        if self.sends.is_empty() {
            // Of one that broke off nobody knows the lane.
            self.in_flight = [0; 2];
        }
        if self.smaller_until <= now {
            self.max_bytes = MAX_BATCH_BYTES;
        }
        while matches!(self.gate, Gate::Open | Gate::Ajar) {
            let Some(mut parcel) = self.next() else { return };
            if self.gate == Gate::Ajar {
                self.gate = Gate::Trying;
                self.breaker(Breaker::probe);
            }
            self.in_flight[parcel.lane as usize] += 1;
            let backend = Arc::clone(&self.backend);
            self.sends.spawn(async move {
                let report = parcel.send(&backend).await;
                (parcel, report)
            });
        }
    }

    /// What is to be sent next.
    fn next(&mut self) -> Option<Parcel> {
        if let Some(held) = self.take_held() {
            let aged = self.outlet.max_age.is_some_and(|age| held.batch.first_at.elapsed() > age);
            if !aged {
                return Some(held.with(&self.outlet));
            }
            // Some of it is too old, and some may not be.
            self.backend.account.queue().release(held.batch);
            self.backend.expire();
        }
        let queue = self.backend.account.queue();
        let batch = |lane| queue.try_next(lane, &self.want(lane)).map(|batch| (batch, lane));
        let (batch, lane) = self.lanes().into_iter().flatten().find_map(batch)?;
        Some(Parcel::new(batch, lane, Arc::clone(&self.outlet)))
    }

    /// The lanes of which a batch may be sent now.
    fn lanes(&self) -> [Option<Lane>; 2] {
        let slots = if self.backend.signal == Signal::Metrics { 1 } else { IN_FLIGHT };
        let [live, backlog] = self.in_flight;
        let free = live + backlog < slots;
        if !self.split {
            return [free.then_some(Lane::Live), None];
        }
        // One slot is kept for what is received now.
        let backlog_free = backlog + 1 < slots;
        let live_free = free && (live == 0 || !backlog_free);
        [live_free.then_some(Lane::Live), backlog_free.then_some(Lane::Backlog)]
    }

    fn want(&self, lane: Lane) -> Want {
        Want {
            max_bytes: self.max_bytes,
            batch_bytes: BATCH_BYTES.min(self.max_bytes),
            batch_age: if lane == Lane::Backlog { Duration::ZERO } else { BATCH_AGE },
        }
    }

    /// When there is something to do, if nothing happens before; and whether a change of the queue
    /// may be something.
    fn wake(&mut self) -> (Option<Instant>, bool) {
        match self.gate {
            Gate::Trying => return (None, false),
            Gate::Shut { until } => return (Some(until), false),
            Gate::Open | Gate::Ajar => {}
        }
        let queue = self.backend.account.queue();
        let mut wake: Option<Instant> = None;
        for lane in self.lanes().into_iter().flatten() {
            match queue.due_at(lane, &self.want(lane)) {
                Due::Now => wake = Some(Instant::now()),
                Due::At(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                Due::WhenPushed | Due::WhenRecorded => {}
            }
        }
        if self.split && self.in_flight[Lane::Backlog as usize] == 0 {
            self.split = queue.due_at(Lane::Backlog, &self.want(Lane::Backlog)) != Due::WhenPushed;
        }
        (wake, true)
    }

    fn is_done(&self) -> bool {
        if !self.flush || !self.sends.is_empty() {
            return false;
        }
        // What is on disk is there at the next start.
        self.backend.is_empty() || (self.backend.is_on_disk() && self.gate != Gate::Open)
    }

    /// Other orders are a reason to try at once.
    fn ordered(&mut self) {
        let Orders { outlet, flush } = self.orders.borrow_and_update().clone();
        if !Arc::ptr_eq(&outlet, &self.outlet) {
            self.outlet = outlet;
            self.max_bytes = MAX_BATCH_BYTES;
            self.breaker(Breaker::succeeded);
        }
        self.flush = flush;
        self.gate = Gate::Open;
        if let Some(held) = &mut self.held {
            held.attempts = 0;
        }
    }

    fn came_back(&mut self, mut parcel: Parcel, report: Report) {
        let flying = &mut self.in_flight[parcel.lane as usize];
        *flying = flying.saturating_sub(1);
        // What came of it says nothing of the backend as it is configured now.
        let current = Arc::ptr_eq(&parcel.outlet, &self.outlet);
        match report {
            Report::Delivered { rejected, message } => {
                self.delivered(parcel, rejected, &message);
                if current {
                    self.succeeded();
                }
            }
            Report::TooLarge => {
                if current {
                    // Down to batches of a single request, of which each has at least one.
                    self.max_bytes = self.max_bytes.min(parcel.batch.bytes / 2);
                    self.smaller_until = Instant::now() + SMALLER_FOR;
                    debug!(backend = %self.backend.name, signal = %self.backend.signal, bytes = self.max_bytes, "the backend takes smaller batches only");
                }
                self.backend.account.queue().release(parcel.batch);
                self.answered(current);
            }
            Report::Failed(_) | Report::Blocked(_) | Report::Unreadable(_) if !current => {
                parcel.attempts = 0;
                self.hold(parcel);
            }
            Report::Failed(failure) => self.failed(parcel, &failure),
            Report::Damaged => {
                // It says nothing of the backend, which was not asked.
                let nothing = Fate { delivered: 0, loss: Loss::Disk };
                self.backend.account.settle(parcel.batch, nothing);
                if self.gate == Gate::Trying {
                    self.gate = Gate::Ajar;
                }
            }
            Report::Blocked(reason) => {
                self.hold(parcel);
                self.gate.shut(Instant::now() + BLOCKED_FOR);
                self.troubled(BackendState::Blocked, reason);
            }
            Report::Unreadable(error) => {
                self.hold(parcel);
                self.gate.shut(Instant::now() + UNREADABLE_FOR);
                self.troubled(BackendState::Blocked, format!("read the queue: {error}"));
            }
        }
        self.backend.show();
    }

    /// A send ended as none should; its batch is back in the queue.
    fn broke(&mut self, error: &tokio::task::JoinError) {
        error!(backend = %self.backend.name, signal = %self.backend.signal, %error, "a send broke off");
        self.gate.shut(Instant::now() + UNREADABLE_FOR);
    }

    fn failed(&mut self, mut parcel: Parcel, failure: &Failure) {
        let now = Instant::now();
        let error = failure.to_string();
        let policy = parcel.outlet.exporter.breaker();
        let asked = match failure.again {
            Again::Later(asked) => asked,
            Again::Never => {
                self.answered(true);
                // A backend that lets nobody in is left alone, too, so that less is lost.
                if failure.reason == Reason::Unauthorized {
                    self.breaker(|breaker| breaker.failed(policy, now));
                    if let Some(until) = self.breaker.until() {
                        self.gate.shut(until);
                    }
                }
                self.lost(parcel, Loss::Rejected, &error);
                return self.refused(error);
            }
        };
        parcel.attempts = parcel.attempts.saturating_add(1);
        let jitter = fastrand::f64();
        let pause = parcel.outlet.exporter.backoff().pause(parcel.attempts, asked, jitter);
        self.breaker(|breaker| breaker.failed(policy, now));
        // An open breaker says itself when the backend is asked again: no pause grows beyond that.
        let pause = pause.map(|pause| match self.breaker.until() {
            Some(_) => Backoff::asked(asked, jitter),
            None => pause,
        });
        match pause {
            Some(pause) => {
                debug!(backend = %self.backend.name, signal = %self.backend.signal, %error, ?pause, "export failed; trying again");
                self.gate.shut(now + pause);
                self.hold(parcel);
            }
            None => {
                self.answered(true);
                self.lost(parcel, Loss::RetryExhausted, &error);
            }
        }
        if let Some(until) = self.breaker.until() {
            self.gate.shut(until);
        }
        self.troubled(BackendState::Down, error);
    }

    /// The backend answered to the one batch that was tried alone.
    fn answered(&mut self, current: bool) {
        if current && self.gate == Gate::Trying {
            self.gate = Gate::Open;
            self.split_backlog();
        }
    }

    fn succeeded(&mut self) {
        // What was under way before the backend said that it wants to be left alone changes nothing.
        if !matches!(self.gate, Gate::Shut { .. }) {
            self.breaker(Breaker::succeeded);
            self.answered(true);
        }
    }

    /// Keeps a batch to be tried first, or gives it back if there is one already.
    fn hold(&mut self, parcel: Parcel) {
        match self.held {
            None => {
                self.backend.account.holds(&parcel.batch);
                self.held = Some(parcel);
            }
            Some(_) => self.backend.account.queue().release(parcel.batch),
        }
    }

    fn take_held(&mut self) -> Option<Parcel> {
        let held = self.held.take()?;
        self.backend.account.tries_again();
        Some(held)
    }

    /// Makes what waits a lane of its own if it is much.
    fn split_backlog(&mut self) {
        let queue = self.backend.account.queue();
        if self.backend.signal != Signal::Metrics
            && !self.split
            && queue.counts().waiting_bytes >= BACKLOG_BYTES
        {
            queue.split_lanes();
            self.split = true;
        }
    }

    fn delivered(&mut self, parcel: Parcel, rejected: usize, message: &str) {
        let Backend { name, signal, .. } = &*self.backend;
        let items = parcel.batch.items;
        let rejected = (rejected as u64).min(items);
        let ending = match u32::try_from(rejected).unwrap_or(u32::MAX) {
            0 => Ending::Delivered,
            _ if rejected == items => Ending::Dropped(Loss::Rejected),
            some => Ending::Partly(some),
        };
        self.settle(parcel, items - rejected, Loss::Rejected, ending);
        self.backend.meters.up(true);
        self.backend.flows.store(true, Ordering::Relaxed);
        let error = (rejected > 0).then(|| message.to_owned());
        let before = self.backend.health.is(BackendState::Up, error);
        if matches!(before, BackendState::Down | BackendState::Blocked) {
            info!(backend = %name, %signal, "backend is back");
        }
        if rejected > 0 {
            error!(backend = %name, %signal, items = rejected, %message, "telemetry lost: the backend rejected it");
        } else if !message.is_empty() {
            warn!(backend = %name, %signal, %message, "the backend warns");
        }
    }

    fn lost(&self, parcel: Parcel, loss: Loss, error: &str) {
        error!(backend = %self.backend.name, signal = %self.backend.signal, items = parcel.batch.items, reason = loss.name(), %error, "telemetry lost: the backend did not take it");
        self.settle(parcel, 0, loss, Ending::Dropped(loss));
    }

    fn settle(&self, parcel: Parcel, delivered: u64, loss: Loss, ending: Ending) {
        if self.backend.signal == Signal::Traces {
            self.backend.trail.settled(&self.backend.name, parcel.batch.numbers(), ending);
        }
        self.backend.account.settle(parcel.batch, Fate { delivered, loss });
    }

    /// Notes why nothing gets through, and says so once.
    fn troubled(&self, state: BackendState, reason: String) {
        self.fails(state, reason, "nothing gets through to the backend; telemetry waits");
    }

    /// Notes that the backend does not take what it is sent, and says so once.
    fn refused(&self, reason: String) {
        self.fails(
            BackendState::Down,
            reason,
            "the backend refuses what it is sent, which is lost",
        );
    }

    fn fails(&self, state: BackendState, reason: String, words: &str) {
        let Backend { name, signal, meters, health, .. } = &*self.backend;
        meters.up(false);
        self.backend.flows.store(false, Ordering::Relaxed);
        let error = reason.clone();
        if health.is(state, Some(reason)) != state {
            warn!(backend = %name, %signal, %error, "{words}");
        }
    }

    /// Changes the circuit breaker, and says so where it is seen.
    fn breaker(&mut self, change: impl FnOnce(&mut Breaker)) {
        let before = self.breaker;
        change(&mut self.breaker);
        if before == self.breaker {
            return;
        }
        let Backend { name, signal, meters, health, .. } = &*self.backend;
        health.breaker(self.breaker);
        meters.circuit_open(!self.breaker.is_closed());
        match (before, self.breaker) {
            (Breaker::Closed { .. }, Breaker::Open { .. }) => {
                warn!(backend = %name, %signal, "circuit breaker opened: the backend is left alone for a while");
            }
            (Breaker::Open { .. } | Breaker::HalfOpen, Breaker::Closed { .. }) => {
                info!(backend = %name, %signal, "circuit breaker closed");
            }
            _ => {}
        }
    }
}
