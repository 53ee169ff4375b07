//! What changed lately: one bounded journal, from which every watcher reads at its own pace.
//!
//! A watcher has a position and no buffer of its own, so a slow one costs nothing. When the journal
//! no longer reaches back to its position it is told to list again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use ursa_model::ResourceKey;

use crate::Record;

/// Writes that the journal reaches back.
pub const JOURNAL_WRITES: usize = 1024;

/// Bytes of texts, names and origins that the journal holds at most.
pub const JOURNAL_BYTES: usize = 8 << 20;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// One write: all of it, after all writes before it.
    Changed {
        /// The store's revision after the write.
        revision: u64,
        /// Every resource it changed, once, sorted by key.
        changes: Vec<Changed>,
    },
    /// The watcher was too far behind, and writes passed it by: list again. What follows may repeat
    /// writes that the listing already has; those are of revisions not above its own.
    Resync,
}

/// A resource that a write changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which resource.
    pub key: ResourceKey,
    /// As it is now; none: deleted.
    pub record: Option<Record>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    recent: Arc<Mutex<Recent>>,
    revision: watch::Sender<u64>,
}

#[derive(Debug)]
struct Recent {
    /// The revision before the first write held.
    base: u64,
    /// Writes of the revisions base + 1, base + 2, ….
    writes: VecDeque<Arc<Vec<Changed>>>,
    bytes: usize,
}

impl Journal {
    /// A journal that starts at a store's revision.
    pub(crate) fn new(revision: u64) -> Self {
        let recent = Recent { base: revision, writes: VecDeque::new(), bytes: 0 };
        Self { recent: Arc::new(Mutex::new(recent)), revision: watch::Sender::new(revision) }
    }

    /// Enters the write that made the next revision, and wakes the watchers.
    pub(crate) fn enter(&self, changes: Vec<Changed>) {
        let mut recent = lock(&self.recent);
        recent.bytes += size(&changes);
        recent.writes.push_back(Arc::new(changes));
        while recent.writes.len() > JOURNAL_WRITES || recent.bytes > JOURNAL_BYTES {
            let Some(oldest) = recent.writes.pop_front() else { break };
            recent.bytes -= size(&oldest);
            recent.base += 1;
        }
        let newest = recent.newest();
        drop(recent);
        self.revision.send_replace(newest);
    }

    /// Events after a revision. Ends when the journal is dropped.
    pub(crate) fn watch(&self, after: u64) -> BoxStream<'static, Event> {
        let watcher = Watcher {
            recent: Arc::clone(&self.recent),
            revision: self.revision.subscribe(),
            after,
        };
        stream::unfold(watcher, |mut watcher| async {
            watcher.next().await.map(|event| (event, watcher))
        })
        .boxed()
    }
}

struct Watcher {
    recent: Arc<Mutex<Recent>>,
    revision: watch::Receiver<u64>,
    after: u64,
}

impl Watcher {
    async fn next(&mut self) -> Option<Event> {
        loop {
            self.revision.mark_unchanged();
            if let Some(event) = self.read() {
                return Some(event);
            }
            self.revision.changed().await.ok()?;
        }
    }

    fn read(&mut self) -> Option<Event> {
        let recent = lock(&self.recent);
        let newest = recent.newest();
        if self.after == newest {
            return None;
        }
        let position = self.after.checked_sub(recent.base).and_then(|at| usize::try_from(at).ok());
        let Some(write) = position.and_then(|at| recent.writes.get(at)).map(Arc::clone) else {
            self.after = newest;
            return Some(Event::Resync);
        };
        drop(recent);
        self.after += 1;
        Some(Event::Changed { revision: self.after, changes: write.to_vec() })
    }
}

impl Recent {
    fn newest(&self) -> u64 {
        self.base + self.writes.len() as u64
    }
}

fn lock(recent: &Mutex<Recent>) -> MutexGuard<'_, Recent> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

fn size(changes: &[Changed]) -> usize {
    let names = |key: &ResourceKey| {
        key.kind.len() + key.name.len() + key.mesh.as_ref().map_or(0, String::len)
    };
    let kept = |record: &Record| {
        let origin = record.origin.as_ref().map_or(0, |origin| origin.file.len());
        names(&record.key) + record.text.len() + origin
    };
    let size = |changed: &Changed| {
        size_of::<Changed>() + names(&changed.key) + changed.record.as_ref().map_or(0, kept)
    };
    changes.iter().map(size).sum()
}
