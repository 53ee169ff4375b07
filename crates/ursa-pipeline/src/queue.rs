//! What waits for one backend: one queue per backend and signal.
//!
//! The contract: what [`push`](Queue::push) took is stored until [`done`](Queue::done), in order,
//! and a batch handed out stays stored while it is being sent. Full is an error for whoever pushes,
//! never a silent drop. One consumer.
//!
//! Limits: `capacity` bytes, each request counting [`REQUEST_BYTES`] more than its length. Batches
//! are due at [`BATCH_BYTES`] or when their first request has waited [`BATCH_AGE`], and end before
//! [`MAX_BATCH_BYTES`] unless one request alone is larger.
//!
//! This one keeps requests in memory: what waits is lost with the process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A batch of this size is sent without waiting for more.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// No batch of several requests is larger; receivers commonly admit 4 MiB.
pub(crate) const MAX_BATCH_BYTES: usize = 2 << 20;
/// How long a request waits for others to go with.
pub(crate) const BATCH_AGE: Duration = Duration::from_millis(200);
/// What a stored request takes besides its bytes.
pub(crate) const REQUEST_BYTES: usize = 256;

/// A bounded queue of export requests.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    requests: VecDeque<Stored>,
    items: usize,
    /// Of `requests`, with [`REQUEST_BYTES`] each.
    bytes: usize,
    capacity: usize,
    /// Batches are due at once, and the queue ends when it is empty.
    closed: bool,
}

#[derive(Debug)]
struct Stored {
    request: Bytes,
    items: usize,
    at: Instant,
}

/// Requests to send as one: concatenated they are one request.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// In order.
    pub(crate) requests: Vec<Bytes>,
    /// Spans, data points or log records in all.
    pub(crate) items: usize,
    /// Length of all requests.
    pub(crate) bytes: usize,
}

/// What waits, batches handed out included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Waiting {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) capacity: usize,
    /// Age of the oldest request.
    pub(crate) oldest: Option<Duration>,
}

/// The queue did not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum PushError {
    #[error("the queue is full")]
    Full,
    #[error("the queue is closed")]
    Closed,
}

/// When the next batch is due.
enum Due {
    Now(Batch),
    At(Instant),
    WhenPushed,
    Never,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        let state =
            State { requests: VecDeque::new(), items: 0, bytes: 0, capacity, closed: false };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Stores a request; afterwards it may be acknowledged.
    #[expect(clippy::unused_async, reason = "a queue on disk stores before it returns")]
    pub(crate) async fn push(&self, request: Bytes, items: usize) -> Result<(), PushError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PushError::Closed);
        }
        let bytes = state.bytes.saturating_add(request.len()).saturating_add(REQUEST_BYTES);
        if bytes > state.capacity {
            return Err(PushError::Full);
        }
        let was_empty = state.requests.is_empty();
        state.bytes = bytes;
        state.items += items;
        state.requests.push_back(Stored { request, items, at: Instant::now() });
        if was_empty || bytes >= BATCH_BYTES {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next batch, once it is due; none when the queue is closed and empty. It stays stored
    /// until [`done`](Self::done), and is handed out again if the caller does not get that far.
    pub(crate) async fn next(&self) -> Option<Batch> {
        loop {
            let due = self.lock().due();
            match due {
                Due::Now(batch) => return Some(batch),
                Due::Never => return None,
                Due::WhenPushed => self.changed.notified().await,
                Due::At(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// Forgets the batch that [`next`](Self::next) handed out: its fate is known.
    pub(crate) fn done(&self, batch: &Batch) {
        let mut state = self.lock();
        for _ in &batch.requests {
            if let Some(stored) = state.requests.pop_front() {
                state.items -= stored.items;
                state.bytes -= stored.request.len() + REQUEST_BYTES;
            }
        }
    }

    /// Takes no more; what waits is due at once.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Changes how much may wait. What waits stays.
    pub(crate) fn resize(&self, capacity: usize) {
        self.lock().capacity = capacity;
    }

    /// Gives up all that waits, and says how many items.
    pub(crate) fn clear(&self) -> usize {
        let mut state = self.lock();
        state.requests.clear();
        state.bytes = 0;
        std::mem::take(&mut state.items)
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let state = self.lock();
        let oldest = state.requests.front().map(|stored| stored.at.elapsed());
        let State { items, bytes, capacity, .. } = *state;
        Waiting { items, bytes, capacity, oldest }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn due(&self) -> Due {
        let Some(first) = self.requests.front() else {
            return if self.closed { Due::Never } else { Due::WhenPushed };
        };
        let at = first.at + BATCH_AGE;
        if self.closed || self.bytes >= BATCH_BYTES || at <= Instant::now() {
            Due::Now(self.batch())
        } else {
            Due::At(at)
        }
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch { requests: Vec::new(), items: 0, bytes: 0 };
        for stored in &self.requests {
            let bytes = batch.bytes + stored.request.len();
            if bytes > MAX_BATCH_BYTES && !batch.requests.is_empty() {
                break;
            }
            batch.requests.push(stored.request.clone());
            batch.items += stored.items;
            batch.bytes = bytes;
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Take { forget: bool },
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => prop_oneof![0..3000_usize, 500_000..1_500_000_usize].prop_map(Step::Push),
            3 => any::<bool>().prop_map(|forget| Step::Take { forget }),
            1 => (0..5_000_000_usize).prop_map(Step::Resize),
        ]
    }

    proptest! {
        /// Against a plain list: nothing is lost, doubled or reordered, and the bounds hold.
        #[test]
        fn behaves_like_a_list(steps in prop::collection::vec(step(), 1..60)) {
            runtime().block_on(async {
                let mut capacity = 4_000_000;
                let queue = Queue::new(capacity);
                let mut model: VecDeque<Bytes> = VecDeque::new();
                let mut next = 0_u8;
                for step in steps {
                    let stored = |model: &VecDeque<Bytes>| -> usize {
                        model.iter().map(|request| request.len() + REQUEST_BYTES).sum()
                    };
                    match step {
                        Step::Push(length) => {
                            next = next.wrapping_add(1);
                            let request = Bytes::from(vec![next; length]);
                            let fits = stored(&model) + length + REQUEST_BYTES <= capacity;
                            let taken = queue.push(request.clone(), 1).await;
                            assert_eq!(taken.is_ok(), fits);
                            if fits {
                                model.push_back(request);
                            }
                        }
                        Step::Take { forget } if !model.is_empty() => {
                            let batch = queue.next().await.unwrap();
                            let count = batch.requests.len();
                            assert!(count > 0 && batch.items == count);
                            assert!(batch.bytes <= MAX_BATCH_BYTES || count == 1);
                            assert!(batch.requests.iter().eq(model.iter().take(count)));
                            if forget {
                                queue.done(&batch);
                                model.drain(..count);
                            }
                        }
                        Step::Take { .. } => {}
                        Step::Resize(to) => {
                            capacity = to;
                            queue.resize(to);
                        }
                    }
                    let waiting = queue.waiting();
                    assert_eq!((waiting.items, waiting.bytes), (model.len(), stored(&model)));
                }
                queue.close();
                assert_eq!(queue.push(Bytes::new(), 0).await, Err(PushError::Closed));
                while let Some(batch) = queue.next().await {
                    queue.done(&batch);
                    model.drain(..batch.requests.len());
                }
                assert!(model.is_empty());
            });
        }
    }

    #[test]
    fn a_batch_is_due_by_age_or_by_size() {
        runtime().block_on(async {
            let queue = Queue::new(10 << 20);
            let start = Instant::now();
            queue.push(Bytes::from_static(b"a"), 1).await.unwrap();
            tokio::time::advance(Duration::from_millis(150)).await;
            queue.push(Bytes::from_static(b"b"), 1).await.unwrap();
            let batch = queue.next().await.unwrap();
            assert_eq!((batch.items, start.elapsed().as_millis() / 10), (2, 20));
            queue.done(&batch);

            let start = Instant::now();
            queue.push(vec![0; BATCH_BYTES].into(), 1).await.unwrap();
            assert_eq!(queue.next().await.unwrap().bytes, BATCH_BYTES);
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
    }

    #[test]
    fn closing_makes_what_waits_due() {
        runtime().block_on(async {
            let queue = Queue::new(10 << 20);
            queue.push(Bytes::from_static(b"a"), 1).await.unwrap();
            let start = Instant::now();
            queue.close();
            let batch = queue.next().await.unwrap();
            queue.done(&batch);
            assert!(queue.next().await.is_none());
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
    }
}
