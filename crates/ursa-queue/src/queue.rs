//! The queue as it is used: pushing and taking, and who waits for what.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use crate::batch::{Batch, Contents, Dropped, Run};
use crate::clock::Clock;
use crate::disk;
use crate::options::{Options, PushError, Record, Recovered};
use crate::state::{Counts, Due, DueAt, Kind, Lane, Place, State, Taken, Want};
use crate::worker::Worker;

/// A bounded queue of records.
#[derive(Debug)]
pub struct Queue {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    state: Mutex<State>,
    pub(crate) clock: Clock,
    changed: Notify,
    /// Something was taken out of a lane.
    taken: Notify,
    /// None in memory.
    pub(crate) worker: Option<Worker>,
}

impl Queue {
    /// A queue that ends with the process.
    pub fn memory(options: Options) -> Self {
        let inner = Inner {
            state: Mutex::new(State::new(Kind::Memory, &options)),
            clock: Clock::starting_at(0),
            changed: Notify::new(),
            taken: Notify::new(),
            worker: None,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The queue of this directory, which is made if need be, with what waits in it.
    ///
    /// # Errors
    /// The directory cannot be used, another process uses it, or it was written by a version of the
    /// program that stores otherwise.
    pub fn open(directory: &Path, options: Options) -> io::Result<(Self, Recovered)> {
        let disk::Opened { lock, writer, cursor, state, clock, recovered } =
            disk::open(directory, &options)?;
        let worker = Worker::new(directory.to_owned(), lock, writer, cursor, options.sync);
        let (state, changed, taken) = (Mutex::new(state), Notify::new(), Notify::new());
        let inner = Inner { state, clock, changed, taken, worker: Some(worker) };
        Ok((Self { inner: Arc::new(inner) }, recovered))
    }

    /// Stores a record: once this returns it is stored as [`Sync`](crate::Sync) says. If the caller
    /// does not wait for that, it is or is not. Returns the record's number, which
    /// [`Batch::numbers`] names it by.
    ///
    /// # Errors
    /// It is not stored, and nothing of it is.
    pub async fn push(&self, record: Record) -> Result<u64, PushError> {
        if self.inner.worker.is_some() {
            self.inner.lock().reserve(record.bytes.len())?;
            return Worker::store(&self.inner, record).await;
        }
        let mut state = self.inner.lock();
        state.reserve(record.bytes.len())?;
        let number = state.next;
        let wake = state.store(record, self.inner.clock.now());
        drop(state);
        if wake {
            self.inner.changed.notify_one();
        }
        Ok(number)
    }

    /// The lane's next batch, once it is due; none when the queue is closed and nothing is left in
    /// the lane, in flight or not.
    pub async fn next(&self, lane: Lane, want: &Want) -> Option<Batch> {
        loop {
            if let Some(batch) = self.try_next(lane, want) {
                return Some(batch);
            }
            if self.inner.lock().ended(lane) {
                return None;
            }
            match self.due_at(lane, want) {
                Due::Now => {}
                Due::WhenPushed | Due::WhenRecorded => self.changed().await,
                Due::At(at) => {
                    tokio::select! {
                        () = self.changed() => {}
                        () = sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// The lane's next batch, if it is due now: records of one form, in order. Those of other forms
    /// are passed over and come in batches of their own.
    pub fn try_next(&self, lane: Lane, want: &Want) -> Option<Batch> {
        let now = self.inner.clock.now();
        let mut state = self.inner.lock();
        if state.due(lane, want, now) != DueAt::Now {
            return None;
        }
        let taken = state.take(lane, want)?;
        drop(state);
        self.inner.taken.notify_waiters();
        Some(self.batch(taken))
    }

    /// Whether more than so many bytes wait in the live lane. A closed queue is not crowded.
    pub fn is_crowded(&self, bytes: u64) -> bool {
        self.inner.lock().is_crowded(bytes)
    }

    /// Waits until no more than so many bytes wait in the live lane. For those who push: all who wait
    /// are woken when something is taken.
    pub async fn room(&self, bytes: u64) {
        loop {
            let mut taken = pin!(self.inner.taken.notified());
            taken.as_mut().enable();
            if !self.is_crowded(bytes) {
                return;
            }
            taken.await;
        }
    }

    fn batch(&self, taken: Taken) -> Batch {
        let Taken { id, form, records, items, bytes, first_at, sources, runs } = taken;
        let first_at = self.inner.clock.instant(first_at);
        let home = Arc::downgrade(&self.inner);
        Batch { id, form, records, items, bytes, first_at, sources, runs, home }
    }

    /// When the lane's next batch is due.
    pub fn due_at(&self, lane: Lane, want: &Want) -> Due {
        let now = self.inner.clock.now();
        match self.inner.lock().due(lane, want, now) {
            DueAt::Now => Due::Now,
            DueAt::At(stamp) => Due::At(self.inner.clock.instant(stamp)),
            DueAt::WhenPushed => Due::WhenPushed,
            DueAt::WhenRecorded => Due::WhenRecorded,
        }
    }

    /// Waits until something may be due that was not when [`due_at`](Self::due_at) was last asked:
    /// something was pushed where nothing waited, or enough of it; a batch came back; what is settled
    /// was written down; the queue was closed. For one consumer: one change wakes one.
    pub fn changed(&self) -> Notified<'_> {
        self.inner.changed.notified()
    }

    /// The contents of a batch. What cannot be read is given up: it leaves the queue and the batch.
    ///
    /// # Errors
    /// Nothing could be read for now (too many open files, say); the batch is as it was.
    pub async fn read(&self, batch: &mut Batch) -> io::Result<Contents> {
        let (sequences, places) = self.inner.lock().places(&batch.runs);
        let read: Vec<Option<Bytes>> = match &self.inner.worker {
            Some(worker) if places.iter().any(|place| matches!(place, Place::Disk { .. })) => {
                worker.read(places).await?
            }
            _ => places.into_iter().map(Place::into_memory).collect(),
        };
        let mut contents = Contents::default();
        let mut damaged = Vec::new();
        for (sequence, read) in sequences.into_iter().zip(read) {
            match read {
                Some(bytes) => contents.records.push(bytes),
                None => Run::extend(&mut damaged, sequence),
            }
        }
        if !damaged.is_empty() {
            contents.damaged = self.inner.lock().damage(&damaged);
            batch.subtract(&contents.damaged);
            self.inner.settled();
        }
        Ok(contents)
    }

    /// Forgets a batch for good: its fate is known. In any order.
    pub fn settle(&self, mut batch: Batch) {
        debug_assert!(batch.is_of(&self.inner), "a batch of another queue");
        let runs = std::mem::take(&mut batch.runs);
        self.inner.lock().settle(&runs);
        self.inner.settled();
    }

    /// Gives a batch back to where it was: what it held is next in its lane.
    pub fn release(&self, batch: Batch) {
        drop(batch);
    }

    /// Makes all that waits now the backlog. What is pushed from now on is live, until nothing is left
    /// of the backlog: then there is one lane again.
    pub fn split_lanes(&self) {
        self.inner.lock().split_lanes();
        self.inner.changed.notify_one();
        self.inner.taken.notify_waiters();
    }

    /// Drops what waits and is older than [`Options::max_age`] at `now`.
    pub fn expire(&self, now: Instant) -> Dropped {
        let dropped = self.inner.lock().expire(self.inner.clock.at(now));
        self.inner.dropped(dropped)
    }

    /// What is stored now.
    pub fn counts(&self) -> Counts {
        let now = self.inner.clock.now();
        self.inner.lock().counts(now)
    }

    /// Whether nothing waits, is in flight or is being written.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().is_empty()
    }

    /// Changes how much may be stored. What is stored stays.
    pub fn resize(&self, capacity: u64) {
        self.inner.lock().resize(capacity);
    }

    /// Changes what [`expire`](Self::expire) takes for too old.
    pub fn set_max_age(&self, max_age: Option<Duration>) {
        self.inner.lock().set_max_age(max_age);
    }

    /// Waits until all that was pushed and settled so far is on disk, in either way of
    /// [`Sync`](crate::Sync); not for what others push meanwhile. What is dropped afterwards leaves
    /// the directory to others at once.
    ///
    /// # Errors
    /// It is not.
    pub async fn flush(&self) -> Result<(), PushError> {
        match &self.inner.worker {
            Some(_) => Worker::flush(&self.inner).await,
            None => Ok(()),
        }
    }

    /// Takes no more; what waits is due at once.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.inner.changed.notify_one();
        self.inner.taken.notify_waiters();
    }

    /// Drops all that waits, and says what that was. Batches in flight stay.
    pub fn clear(&self) -> Dropped {
        let dropped = self.inner.lock().clear();
        self.inner.dropped(dropped)
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(crate) fn give_back(&self, runs: &[Run]) {
        self.lock().release(runs);
        self.wake();
    }

    /// Has written what is settled, and deleted what nobody needs.
    fn settled(self: &Arc<Self>) {
        self.wake();
        if self.worker.is_some() {
            Worker::tidy(self);
        }
    }

    fn dropped(self: &Arc<Self>, dropped: Dropped) -> Dropped {
        if dropped.records > 0 {
            self.taken.notify_waiters();
            self.settled();
        }
        dropped
    }
}
