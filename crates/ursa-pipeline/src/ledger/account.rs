//! The account of one backend and signal: its queue, and what became of what left it.
//!
//! What waits is counted by the queue alone, under the queue's lock; what is done with is counted
//! here. An item goes from the one to the other while the books are locked, and who reads locks the
//! books first: so no reader sees it twice or not at all, and a difference is one of the queue's real
//! counts, not of a second bookkeeping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use ursa_queue::{Batch, Counts, Dropped, Queue, RECOVERED, SourceCounts};

use super::{Ledger, Loss, divide};

/// What a queue and the books beside it say at one moment.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) counts: Counts,
    /// All sources together.
    pub(crate) total: Ledger,
    /// Each source, by number.
    pub(crate) sources: BTreeMap<u16, Ledger>,
}

/// A queue with its books.
#[derive(Debug)]
pub(crate) struct Account {
    queue: Queue,
    books: Mutex<BTreeMap<u16, Book>>,
}

/// One source's items that are not in the queue.
#[derive(Debug, Default, Clone)]
struct Book {
    /// Received without ever entering the queue.
    outside: u64,
    delivered: u64,
    /// Of the batch that failed and is tried again.
    retrying: u64,
    dropped: [u64; Loss::ALL.len()],
    filtered: BTreeMap<Arc<str>, u64>,
}

/// What became of a batch. What is neither delivered nor damaged is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    /// Items that the backend acknowledged.
    pub(crate) delivered: u64,
    /// Why the others are lost.
    pub(crate) loss: Loss,
}

impl Account {
    pub(crate) fn new(queue: Queue) -> Self {
        Self { queue, books: Mutex::default() }
    }

    /// The queue. What is done with goes through the account.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Ends a batch: what was delivered and what was lost is charged to the sources in proportion.
    /// Says how many items were lost.
    pub(crate) fn settle(&self, batch: Batch, fate: Fate) -> u64 {
        let (sources, shares): (Vec<u16>, Vec<u64>) = batch.sources.iter().unzip();
        let items: u64 = shares.iter().sum();
        let lost = items - fate.delivered.min(items);
        let lost_shares = divide(lost, &shares);
        let mut books = self.books();
        for ((source, share), lost) in sources.into_iter().zip(shares).zip(lost_shares) {
            let book = books.entry(source).or_default();
            book.delivered += share - lost;
            book.dropped[fate.loss as usize] += lost;
        }
        self.queue.settle(batch);
        lost
    }

    /// This batch failed and is tried again, and no other: until the [next](Self::tries_again) time it waits.
    pub(crate) fn holds(&self, batch: &Batch) {
        let mut books = self.books();
        for (source, items) in batch.sources.iter() {
            books.entry(source).or_default().retrying = items;
        }
    }

    /// No batch waits to be tried again.
    pub(crate) fn tries_again(&self) {
        self.books().values_mut().for_each(|book| book.retrying = 0);
    }

    /// Gives up what has waited too long. Says what that was.
    pub(crate) fn expire(&self, now: Instant) -> Dropped {
        self.drop_from_queue(|queue| queue.expire(now))
    }

    /// Gives up all that waits. Says what that was.
    pub(crate) fn clear(&self) -> Dropped {
        self.drop_from_queue(Queue::clear)
    }

    fn drop_from_queue(&self, take: impl FnOnce(&Queue) -> Dropped) -> Dropped {
        let mut books = self.books();
        let dropped = take(&self.queue);
        for (source, items) in dropped.sources.iter() {
            books.entry(source).or_default().dropped[Loss::Expired as usize] += items;
        }
        dropped
    }

    /// Counts items that were received for this backend and for which its queue had no room.
    pub(crate) fn lose(&self, source: u16, items: u64, loss: Loss) {
        let mut books = self.books();
        let book = books.entry(source).or_default();
        book.outside += items;
        book.dropped[loss as usize] += items;
    }

    /// Counts items that were received for this backend and that a rule took out.
    pub(crate) fn filter<'a>(
        &self,
        source: u16,
        filtered: impl Iterator<Item = (&'a Arc<str>, u64)>,
    ) {
        let mut books = self.books();
        let book = books.entry(source).or_default();
        for (rule, items) in filtered {
            book.outside += items;
            match book.filtered.get_mut(rule) {
                Some(counted) => *counted += items,
                None => {
                    book.filtered.insert(Arc::clone(rule), items);
                }
            }
        }
    }

    /// How everything stands at this moment.
    pub(crate) fn statement(&self) -> Statement {
        let books = self.books();
        let counts = self.queue.counts();
        let mut sources: BTreeMap<u16, Ledger> = BTreeMap::new();
        for (source, book) in &*books {
            sources.insert(*source, book.ledger());
        }
        for (source, counts) in &counts.sources {
            sources.entry(*source).or_default().queued(*source, counts);
        }
        drop(books);
        let mut total = Ledger::default();
        for ledger in sources.values_mut() {
            *ledger = std::mem::take(ledger).balanced();
            total.add(ledger);
        }
        Statement { counts, total, sources }
    }

    fn books(&self) -> MutexGuard<'_, BTreeMap<u16, Book>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn ledger(&self) -> Ledger {
        let lost = Loss::ALL.into_iter().zip(self.dropped).filter(|(_, items)| *items > 0);
        Ledger {
            received: self.outside,
            delivered: self.delivered,
            retrying: self.retrying,
            dropped: lost.map(|(loss, items)| (loss.name().to_owned(), items)).collect(),
            filtered: self
                .filtered
                .iter()
                .map(|(rule, items)| (rule.to_string(), *items))
                .collect(),
            ..Ledger::default()
        }
    }
}

impl Ledger {
    /// Adds what the queue says of a source.
    fn queued(&mut self, source: u16, counts: &SourceCounts) {
        self.received += counts.entered_items;
        if source == RECOVERED {
            self.recovered += counts.entered_items;
        }
        self.waiting += counts.waiting_items;
        self.in_flight += counts.in_flight_items;
        if counts.damaged_items > 0 {
            *self.dropped.entry(Loss::Disk.name().to_owned()).or_default() += counts.damaged_items;
        }
    }
}
