//! Who writes: one blocking task at a time, and only while there is something to write.
//!
//! What is pushed while it writes waits and goes with the next write: the group commit. All of a
//! group are acknowledged together, or none. When others waited while a small group was written, the
//! next write lets those who were just acknowledged come again, for a moment: else two halves would take
//! turns, with a sync for each.
//!
//! The same task writes down what is settled, before each group. When a group takes long, another
//! does that beside it: see [`Recorder`].

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::disk::{self, Cursor, CursorSlot, Lock, Pending, Writer};
use crate::options::{PushError, Record, Sync};
use crate::queue::Inner;
use crate::state::Place;

/// A group of fewer bytes costs less to write than to sync.
const SMALL_GROUP_BYTES: usize = 64 << 10;
/// How long the next write waits for those who were just acknowledged. A sync takes longer.
const LINGER: Duration = Duration::from_micros(300);
/// How long what is settled waits at most until somebody begins to write that down.
const RECORD_WITHIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Worker {
    directory: PathBuf,
    sync: Sync,
    jobs: Mutex<Jobs>,
    /// There are as many records as are waited for.
    gathered: Condvar,
    pub(crate) writer: Mutex<Writer>,
    cursor: Mutex<Cursor>,
    tasks: TaskTracker,
    /// Held as long as the queue is.
    _lock: Lock,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Jobs {
    pending: Vec<Pending>,
    /// Who waits for that.
    group: Arc<Group>,
    /// Something was settled.
    tidy: bool,
    /// What was written is to be synced.
    sync: bool,
    /// Will ask for that.
    timer: Option<AbortHandle>,
    /// The task is there.
    working: bool,
    /// Cancelled when the latest task is gone.
    task: CancellationToken,
    /// Will have written down what is settled.
    reminder: Option<AbortHandle>,
    /// Somebody does that beside the task.
    recording: bool,
    /// Cancelled when the latest of them is gone.
    recorder: Option<CancellationToken>,
    /// It waits for so many records.
    awaited: usize,
}

/// Who waits for the same write.
#[derive(Debug, Default)]
struct Group {
    outcome: OnceLock<Outcome>,
    done: Notify,
}

/// What became of a group.
#[derive(Debug, Clone)]
struct Outcome {
    /// The number of the first record; an error if none of them is stored.
    first: Result<u64, PushError>,
    /// An error if a sync was ordered and failed. Those who push do not hear of it: their records are
    /// stored, and would be sent twice if they were pushed again.
    synced: Result<(), PushError>,
}

impl Group {
    async fn wait(&self) -> Outcome {
        loop {
            let mut done = pin!(self.done.notified());
            done.as_mut().enable();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            done.await;
        }
    }

    fn finish(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok() {
            self.done.notify_waiters();
        }
    }
}

impl Worker {
    pub(crate) fn new(
        directory: PathBuf,
        lock: Lock,
        writer: Writer,
        cursor: Cursor,
        sync: Sync,
    ) -> Self {
        Self {
            directory,
            sync,
            jobs: Mutex::default(),
            gathered: Condvar::new(),
            writer: Mutex::new(writer),
            cursor: Mutex::new(cursor),
            tasks: TaskTracker::new(),
            _lock: lock,
        }
    }

    /// Stores a record for which there is room, and says its number.
    pub(crate) async fn store(inner: &Arc<Inner>, record: Record) -> Result<u64, PushError> {
        let mut index = 0;
        let group = Self::join(inner, |jobs| {
            index = jobs.pending.len() as u64;
            jobs.pending.push(Pending { record, at: inner.clock.now() });
        });
        Ok(group.await.first? + index)
    }

    /// Syncs, writes what is settled, and waits until nobody works any more, or the next group that
    /// others pushed meanwhile is written.
    pub(crate) async fn flush(inner: &Arc<Inner>) -> Result<(), PushError> {
        let outcome = Self::join(inner, |jobs| {
            jobs.sync = true;
            jobs.tidy = true;
            if let Some(timer) = jobs.timer.take() {
                timer.abort();
            }
        });
        let Outcome { first, synced } = outcome.await;
        if let Some(worker) = &inner.worker {
            let (task, recorder, next) = {
                let jobs = worker.lock();
                (jobs.task.clone(), jobs.recorder.clone(), Arc::clone(&jobs.group))
            };
            tokio::select! {
                () = task.cancelled() => {}
                _ = next.wait() => {}
            }
            if let Some(recorder) = recorder {
                recorder.cancelled().await;
            }
        }
        synced.and(first.map(|_| ()))
    }

    /// Has written what is settled, by whoever writes, or by another if that takes long.
    pub(crate) fn tidy(inner: &Arc<Inner>) {
        let Some(worker) = &inner.worker else { return };
        if worker.order(inner, |jobs| jobs.tidy = true) {
            return;
        }
        let far_behind = inner.lock().is_far_behind();
        let mut jobs = worker.lock();
        if far_behind && !jobs.recording {
            worker.begin_to_record(inner, jobs);
        } else if jobs.reminder.as_ref().is_none_or(AbortHandle::is_finished) {
            jobs.reminder = worker.remind(inner);
        }
    }

    /// Writes down what is settled now, if that is anything new or is `wanted` all the same.
    fn record(&self, inner: &Inner, wanted: bool) {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let state = inner.lock();
        let unrecorded = state.unrecorded();
        if !unrecorded.any && !wanted {
            return;
        }
        let (slot, until) = (CursorSlot::new(unrecorded.settled), unrecorded.until);
        drop(state);
        cursor.write(&slot);
        drop(cursor);
        if inner.lock().recorded(until) {
            inner.wake();
        }
    }

    /// Deletes the segments that nobody needs, once the disk knows.
    fn clear_away(&self, inner: &Inner, writer: &Writer, sync: bool) {
        let gone = std::mem::take(&mut inner.lock().gone);
        if gone.is_empty() && !sync {
            return;
        }
        self.record(inner, true);
        let written = self.cursor.lock().unwrap_or_else(PoisonError::into_inner).written();
        written.sync();
        for number in gone {
            writer.delete(number);
        }
    }

    fn begin_to_record(&self, inner: &Arc<Inner>, mut jobs: MutexGuard<'_, Jobs>) {
        jobs.recording = true;
        let ended = jobs.recorder.insert(CancellationToken::new()).clone().drop_guard();
        drop(jobs);
        let recorder = Recorder { inner: Arc::clone(inner), done: false, _ended: ended };
        match Handle::try_current() {
            Ok(runtime) => {
                self.tasks.spawn_blocking_on(move || recorder.work(), &runtime);
            }
            Err(_) => recorder.work(),
        }
    }

    /// Has what is settled written down after a while, if it is not by then.
    fn remind(&self, inner: &Arc<Inner>) -> Option<AbortHandle> {
        let runtime = Handle::try_current().ok()?;
        let inner = Arc::downgrade(inner);
        let task = async move {
            sleep(RECORD_WITHIN).await;
            let Some(inner) = inner.upgrade() else { return };
            let Some(worker) = &inner.worker else { return };
            let mut jobs = worker.lock();
            jobs.reminder = None;
            let late = inner.lock().unrecorded().any;
            if late && !jobs.recording {
                worker.begin_to_record(&inner, jobs);
            }
        };
        Some(self.tasks.spawn_on(task, &runtime).abort_handle())
    }

    /// The contents of records, some of which are not in memory.
    pub(crate) async fn read(&self, places: Vec<Place>) -> io::Result<Vec<Option<Bytes>>> {
        let directory = self.directory.clone();
        let read = self.tasks.spawn_blocking(move || disk::read(&directory, &places));
        read.await.map_err(io::Error::other)?
    }

    /// Orders something, and waits for what becomes of all that was ordered so far.
    async fn join(inner: &Arc<Inner>, order: impl FnOnce(&mut Jobs)) -> Outcome {
        let Some(worker) = &inner.worker else { return Outcome { first: Ok(0), synced: Ok(()) } };
        let mut group = Arc::default();
        worker.order(inner, |jobs| {
            order(jobs);
            group = Arc::clone(&jobs.group);
        });
        group.wait().await
    }

    /// Orders something. Says whether somebody begins with it at once.
    fn order(&self, inner: &Arc<Inner>, order: impl FnOnce(&mut Jobs)) -> bool {
        let mut jobs = self.lock();
        order(&mut jobs);
        if std::mem::replace(&mut jobs.working, true) {
            if jobs.pending.len() == jobs.awaited || jobs.sync {
                self.gathered.notify_one();
            }
            return false;
        }
        jobs.task = CancellationToken::new();
        let ended = jobs.task.clone().drop_guard();
        drop(jobs);
        let task = Task { inner: Arc::clone(inner), group: None, done: false, _ended: ended };
        match Handle::try_current() {
            Ok(runtime) => {
                self.tasks.spawn_blocking_on(move || task.work(), &runtime);
            }
            Err(_) => task.work(),
        }
        true
    }

    /// Waits until there are so many records, or for a moment.
    fn gather(&self, records: usize) {
        let mut jobs = self.lock();
        jobs.awaited = records;
        let fewer = |jobs: &mut Jobs| jobs.pending.len() < records && !jobs.sync;
        let waited = self.gathered.wait_timeout_while(jobs, LINGER, fewer);
        let (mut jobs, _) = waited.unwrap_or_else(PoisonError::into_inner);
        jobs.awaited = 0;
    }

    fn append(
        &self,
        inner: &Arc<Inner>,
        writer: &mut Writer,
        pending: Vec<Pending>,
    ) -> io::Result<u64> {
        let sync = self.sync == Sync::BeforeAcknowledge;
        let state = inner.lock();
        let (sequence, segment_bytes) = (state.next, state.segment_bytes());
        drop(state);
        let placed = writer.append(&pending, sequence, segment_bytes, sync);
        let mut state = inner.lock();
        let placed = match placed {
            Ok(placed) => placed,
            Err(error) => {
                for Pending { record, .. } in pending {
                    state.unreserve(record.bytes.len());
                }
                drop(state);
                inner.wake();
                return Err(error);
            }
        };
        let mut wake = false;
        for (Pending { record, at }, placed) in pending.into_iter().zip(placed) {
            if state.written() != Some(placed.segment) {
                state.begin_segment(placed.segment, placed.mark);
            }
            wake |= state.publish(record, placed.offset, at);
        }
        let gone = !state.gone.is_empty();
        drop(state);
        if wake {
            inner.wake();
        }
        let mut jobs = self.lock();
        jobs.tidy |= gone;
        if let Sync::Timer(after) = self.sync
            && jobs.timer.as_ref().is_none_or(AbortHandle::is_finished)
        {
            jobs.timer = self.sync_after(inner, after);
        }
        Ok(sequence)
    }

    /// Asks for a sync after a while.
    fn sync_after(&self, inner: &Arc<Inner>, after: Duration) -> Option<AbortHandle> {
        let runtime = Handle::try_current().ok()?;
        let inner = Arc::downgrade(inner);
        let task = async move {
            sleep(after).await;
            let Some(inner) = inner.upgrade() else { return };
            let Some(worker) = &inner.worker else { return };
            worker.order(&inner, |jobs| {
                jobs.timer = None;
                jobs.sync = true;
            });
        };
        Some(self.tasks.spawn_on(task, &runtime).abort_handle())
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who writes.
#[derive(Debug)]
struct Task {
    inner: Arc<Inner>,
    /// Whose records are being written.
    group: Option<Arc<Group>>,
    /// There is nothing left to do.
    done: bool,
    /// Said when the queue is let go.
    _ended: DropGuard,
}

impl Task {
    /// Works until there is nothing to do.
    fn work(mut self) {
        let inner = &Arc::clone(&self.inner);
        let Some(worker) = &inner.worker else { return };
        let mut writer = worker.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut again = false;
        loop {
            let mut jobs = worker.lock();
            let idle = jobs.pending.is_empty() && !jobs.tidy && !jobs.sync;
            if idle && again {
                jobs.working = false;
                self.done = true;
                return;
            }
            again = true;
            let pending = std::mem::take(&mut jobs.pending);
            self.group = Some(std::mem::take(&mut jobs.group));
            let tidy = std::mem::take(&mut jobs.tidy);
            let sync = std::mem::take(&mut jobs.sync);
            drop(jobs);
            if tidy {
                worker.record(inner, false);
            }
            let (mut first, mut synced) = (Ok(0), Ok(()));
            let written = pending.len();
            let bytes: usize = pending.iter().map(|pending| pending.record.bytes.len()).sum();
            let small = written > 0 && bytes < SMALL_GROUP_BYTES;
            if !pending.is_empty() {
                first = worker.append(inner, &mut writer, pending);
            }
            if sync {
                synced = writer.sync();
                if let Err(error) = &synced {
                    error!(directory = %worker.directory.display(), %error, "cannot sync a queue");
                }
            }
            let others = worker.lock().pending.len();
            if let Some(group) = self.group.take() {
                let refused = |error: io::Error| PushError::Storage(error.to_string());
                let (first, synced) = (first.map_err(refused), synced.map_err(refused));
                group.finish(Outcome { first, synced });
            }
            if tidy {
                worker.clear_away(inner, &writer, sync);
            }
            if small && others > 0 && worker.sync == Sync::BeforeAcknowledge {
                worker.gather(written + others);
            }
        }
    }
}

impl Drop for Task {
    /// A runtime that ends drops what it has not begun. What was pushed is refused then, and the next
    /// order finds a task of its own.
    fn drop(&mut self) {
        let Some(worker) = self.inner.worker.as_ref().filter(|_| !self.done) else { return };
        let mut jobs = worker.lock();
        jobs.working = false;
        let pending = std::mem::take(&mut jobs.pending);
        let group = std::mem::take(&mut jobs.group);
        drop(jobs);
        let mut state = self.inner.lock();
        for Pending { record, .. } in pending {
            state.unreserve(record.bytes.len());
        }
        drop(state);
        for group in self.group.take().into_iter().chain([group]) {
            let refused = PushError::Storage("nobody is left who writes".to_owned());
            group.finish(Outcome { first: Err(refused.clone()), synced: Err(refused) });
        }
        self.inner.wake();
    }
}

/// Writes down what is settled while whoever writes is busy: with a sync that takes long, say.
#[derive(Debug)]
struct Recorder {
    inner: Arc<Inner>,
    done: bool,
    /// Said when the queue is let go.
    _ended: DropGuard,
}

impl Recorder {
    /// Works until nothing is left to write down.
    fn work(mut self) {
        let Some(worker) = &self.inner.worker else { return };
        loop {
            worker.record(&self.inner, false);
            let mut jobs = worker.lock();
            if !self.inner.lock().unrecorded().any {
                jobs.recording = false;
                self.done = true;
                return;
            }
        }
    }
}

impl Drop for Recorder {
    /// A runtime that ends drops what it has not begun.
    fn drop(&mut self) {
        if let Some(worker) = self.inner.worker.as_ref().filter(|_| !self.done) {
            worker.lock().recording = false;
        }
    }
}
