//! A connection's requests run inside the connection's own task.
//!
//! What one read brings is handled, and its answers leave with one write. A task for each request
//! would cost a wake-up each, and mostly a write each.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::rt::Executor;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the HTTP library puts the requests that it begins. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun")
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    begun: Begun,
    /// Those that wait for something.
    waiting: FuturesUnordered<Task>,
}

impl Requests {
    pub(super) fn begun(&self) -> Begun {
        self.begun.clone()
    }

    /// Polls the connection and its requests until none of them can go on.
    pub(super) fn poll<C: Future>(
        &mut self,
        mut connection: Pin<&mut C>,
        context: &mut Context<'_>,
    ) -> Poll<C::Output> {
        loop {
            while let Poll::Ready(Some(())) = self.waiting.poll_next_unpin(context) {}
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let begun = {
                let mut begun = self.begun.0.lock().unwrap_or_else(PoisonError::into_inner);
                mem::take(&mut *begun)
            };
            if begun.is_empty() {
                return Poll::Pending;
            }
            for mut task in begun {
                if task.as_mut().poll(context).is_pending() {
                    self.waiting.push(task);
                }
            }
        }
    }
}
