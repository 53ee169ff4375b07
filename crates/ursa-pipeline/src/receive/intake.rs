//! What receivers of every protocol do with a message: check, count, hand on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use tokio_util::task::TaskTracker;
use ursa_metrics::{Counter, Registry, pipeline};
use ursa_otlp::wire::{self, Checked, WireError};

use super::memory::{Held, Memory};
use super::problem::Problem;
use super::{Limits, Token};
use crate::{Received, Refusal, Signal, Sink};

/// The way from a receiver into its sink. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sink: Arc<dyn Sink>,
    source: Arc<str>,
    token: Option<Token>,
    limits: Limits,
    memory: Memory,
    /// Of each signal, in the order of [`Signal::ALL`].
    counters: [Counters; 3],
    mended: Counter,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Counters {
    accepted: Counter,
    refused: Counter,
}

/// What became of a request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Taken {
    /// Items that were left out, and never will be taken. The others were stored.
    pub(super) rejected: usize,
}

impl Intake {
    /// What comes is counted for the receiver `source`; `tasks` are those that end with it.
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        registry: &Registry,
        source: Arc<str>,
        token: Option<Token>,
        limits: Limits,
        tasks: TaskTracker,
    ) -> Self {
        let accepted = registry.counter(&pipeline::ACCEPTED_ITEMS);
        let refused = registry.counter(&pipeline::REFUSED_ITEMS);
        let counters = Signal::ALL.map(|signal| Counters {
            accepted: accepted.with(&[signal.name(), &source]),
            refused: refused.with(&[signal.name(), &source]),
        });
        let mended = registry.counter(&pipeline::MENDED_TEXTS).with(&[&source]);
        let memory = Memory::new(limits.memory);
        Self(Arc::new(Inner { sink, source, token, limits, memory, counters, mended, tasks }))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Refuses requests that do not carry the receiver's token, if it has one.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        self.0.token.as_ref().map_or(Ok(()), |token| token.check(headers))
    }

    /// Memory for one request.
    pub(super) fn hold(&self) -> Held {
        self.0.memory.hold()
    }

    /// Checks an OTLP message, for which `held` is held, and gives it to the sink.
    pub(super) async fn take(
        &self,
        signal: Signal,
        message: Bytes,
        held: Held,
    ) -> Result<Taken, Problem> {
        self.take_of(None, signal, message, held).await
    }

    /// The same of a sender who called by that name. The sink sees nothing of a message that is refused item by item.
    pub(super) async fn take_of(
        &self,
        channel: Option<&str>,
        signal: Signal,
        message: Bytes,
        held: Held,
    ) -> Result<Taken, Problem> {
        let checked = self.checked(signal, message);
        let (message, found, rejected) =
            checked.map_err(|error| Problem::Malformed(format!("read the request: {error}")))?;
        self.0.counters(signal).refused.inc_by(rejected as u64);
        if found.items == 0 && rejected > 0 {
            return Ok(Taken { rejected });
        }
        let received = Received::otlp(signal, message, found.items, &self.0.source);
        let channel = channel.map(Into::into);
        self.give(Received { found, channel, ..received }, held).await?;
        Ok(Taken { rejected })
    }

    /// Gives to the sink what was checked, and counts it. Once begun, storing is not given up, even
    /// if the sender no longer waits: what is stored is counted, and its memory held until then.
    /// Thereafter the sender waits as long as the sink thinks it should.
    pub(super) async fn give(&self, received: Received, held: Held) -> Result<(), Problem> {
        let inner = Arc::clone(&self.0);
        let signal = received.signal;
        let storing = Box::pin(async move {
            let _held = held;
            let (signal, items) = (received.signal, received.items as u64);
            let answer = if inner.sink.takes(signal) {
                inner.sink.accept(received).await
            } else {
                Err(Refusal::Unsupported { signal })
            };
            let counters = inner.counters(signal);
            let counter = if answer.is_ok() { &counters.accepted } else { &counters.refused };
            counter.inc_by(items);
            answer
        });
        let stored = Finished { storing: Some(storing), tasks: &self.0.tasks }.await;
        stored.map_err(Problem::Refused)?;
        if let Some(pace) = self.0.sink.pace(signal) {
            pace.await;
        }
        Ok(())
    }

    /// The receiver's name.
    pub(super) fn source(&self) -> &Arc<str> {
        &self.0.source
    }

    /// The message without what cannot be stored, what was found in it, and how many items it lost.
    fn checked(
        &self,
        signal: Signal,
        message: Bytes,
    ) -> Result<(Bytes, Checked, usize), WireError> {
        let (message, found) = match wire::inspect(signal, &message) {
            Err(WireError::Text { .. }) => {
                let mended = Bytes::from(wire::mend_text(signal, &message)?);
                let found = wire::inspect(signal, &mended)?;
                self.0.mended.inc();
                (mended, found)
            }
            found => (message, found?),
        };
        if found.invalid_ids == 0 {
            return Ok((message, found, 0));
        }
        let (message, rejected) = wire::drop_invalid(&message)?;
        let items = found.items.saturating_sub(rejected);
        Ok((message, Checked { items, invalid_ids: 0, ..found }, rejected))
    }
}

impl Inner {
    fn counters(&self, signal: Signal) -> &Counters {
        let [traces, metrics, logs] = &self.counters;
        match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
            Signal::Logs => logs,
        }
    }
}

type Storing = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

/// Waits for something that goes on by itself when nobody waits any more.
struct Finished<'a> {
    storing: Option<Storing>,
    tasks: &'a TaskTracker,
}

impl Future for Finished<'_> {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(storing) = &mut self.storing else { return Poll::Pending };
        let polled = storing.as_mut().poll(context);
        if polled.is_ready() {
            self.storing = None;
        }
        polled
    }
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        if let Some(storing) = self.storing.take() {
            self.tasks.spawn(storing);
        }
    }
}

impl fmt::Debug for Finished<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finished").finish_non_exhaustive()
    }
}
