//! What is handed out, and what is said about what is gone.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::time::Instant;

use crate::queue::Inner;

/// How many items of whom, in the order of sources, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(Vec<(u16, u64)>);

impl Sources {
    /// Each source and how many items came from it; none is 0.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn add(&mut self, source: u16, items: u64) {
        match self.0.binary_search_by_key(&source, |&(source, _)| source) {
            Ok(at) => self.0[at].1 += items,
            Err(_) if items == 0 => {}
            Err(at) => self.0.insert(at, (source, items)),
        }
    }

    pub(crate) fn subtract(&mut self, other: &Sources) {
        for (source, items) in other.iter() {
            if let Ok(at) = self.0.binary_search_by_key(&source, |&(source, _)| source) {
                self.0[at].1 = self.0[at].1.saturating_sub(items);
            }
        }
        self.0.retain(|&(_, items)| items > 0);
    }
}

/// Records that are gone without having been settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many records.
    pub records: u64,
    /// What they held.
    pub items: u64,
    /// Length of their contents.
    pub bytes: u64,
    /// Whose items they were.
    pub sources: Sources,
    /// Their numbers, as [`push`](crate::Queue::push) returned them.
    pub numbers: Vec<Range<u64>>,
}

/// Records of one form to send as one, in flight until [settled](crate::Queue::settle),
/// [released](crate::Queue::release) or dropped, which releases it. Without the contents:
/// [`read`](crate::Queue::read) gives those.
#[must_use = "a batch that is dropped is handed out again"]
pub struct Batch {
    /// Told apart from every other batch of the process' queue.
    pub id: u64,
    /// Of all its records.
    pub form: u8,
    /// How many records.
    pub records: usize,
    /// What they hold.
    pub items: u64,
    /// Length of their contents.
    pub bytes: u64,
    /// When its first record was pushed; for one found on disk, as far as the clock can tell.
    pub first_at: Instant,
    /// Whose items they are.
    pub sources: Sources,
    pub(crate) runs: Vec<Run>,
    pub(crate) home: Weak<Inner>,
}

/// Records that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Run {
    /// Adds a record to the last run, or as a run of its own.
    pub(crate) fn extend(runs: &mut Vec<Run>, sequence: u64) {
        match runs.last_mut() {
            Some(run) if run.first + run.count == sequence => run.count += 1,
            _ => runs.push(Run { first: sequence, count: 1 }),
        }
    }

    pub(crate) fn sequences(runs: &[Run]) -> impl Iterator<Item = u64> + '_ {
        runs.iter().flat_map(|run| run.first..run.first + run.count)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("id", &self.id)
            .field("form", &self.form)
            .field("records", &self.records)
            .field("items", &self.items)
            .field("bytes", &self.bytes)
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.runs.is_empty()
            && let Some(home) = Weak::upgrade(&self.home)
        {
            home.give_back(&std::mem::take(&mut self.runs));
        }
    }
}

impl Batch {
    /// The numbers of its records: they follow each other, less what other batches hold.
    pub fn numbers(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().map(|run| run.first..run.first + run.count)
    }

    /// Some of its records are not in it any more.
    pub(crate) fn subtract(&mut self, gone: &Dropped) {
        self.records = self.records.saturating_sub(usize::try_from(gone.records).unwrap_or(0));
        self.items -= gone.items;
        self.bytes -= gone.bytes;
        self.sources.subtract(&gone.sources);
    }

    pub(crate) fn is_of(&self, queue: &Arc<Inner>) -> bool {
        std::ptr::eq(self.home.as_ptr(), Arc::as_ptr(queue))
    }
}

/// The contents of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Of each record that could be read, in order.
    pub records: Vec<Bytes>,
    /// The others. They are gone from the queue and from the batch.
    pub damaged: Dropped,
}
