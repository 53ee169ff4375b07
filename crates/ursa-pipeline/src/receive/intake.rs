//! What receivers of every protocol do with a message: check, count, hand on.

use std::sync::Arc;

use bytes::Bytes;
use ursa_metrics::{Counter, Registry, pipeline};

use super::Limits;
use super::memory::{Held, Memory};
use super::problem::Problem;
use crate::compression::gunzip;
use crate::{Received, Refusal, Signal, Sink};
use ursa_otlp::wire;
use ursa_otlp::wire::WireError;

/// The way from a receiver into its sink.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    sink: Arc<dyn Sink>,
    source: Arc<str>,
    pub(super) limits: Limits,
    memory: Memory,
    counters: Arc<[Counters; 3]>,
}

/// Of one signal, in the order of [`Signal::ALL`].
#[derive(Debug)]
struct Counters {
    accepted: Counter,
    refused: Counter,
}

impl Intake {
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        registry: &Registry,
        receiver: &'static str,
        limits: Limits,
    ) -> Self {
        let accepted = registry.counter(&pipeline::ACCEPTED_ITEMS);
        let refused = registry.counter(&pipeline::REFUSED_ITEMS);
        let counters = Signal::ALL.map(|signal| Counters {
            accepted: accepted.with(&[signal.name(), receiver]),
            refused: refused.with(&[signal.name(), receiver]),
        });
        Self {
            sink,
            source: receiver.into(),
            memory: Memory::new(limits.memory),
            limits,
            counters: Arc::new(counters),
        }
    }

    /// Memory for one request.
    pub(super) fn hold(&self) -> Held {
        self.memory.hold()
    }

    /// Decompresses within the bounds, holding memory for what comes out.
    pub(super) fn gunzip(&self, packed: &[u8], held: &mut Held) -> Result<Bytes, Problem> {
        let plain = gunzip(packed, self.limits.message);
        let plain = plain.map_err(|error| Problem::gunzip(&error))?;
        held.grow(plain.len())?;
        Ok(plain.into())
    }

    /// Checks a message and gives it to the sink.
    pub(super) async fn take(&self, signal: Signal, message: Bytes) -> Result<(), Problem> {
        let (message, items) = checked(signal, message)
            .map_err(|error| Problem::Malformed(format!("read the request: {error}")))?;
        let answer = if self.sink.takes(signal) {
            self.sink.accept(Received::otlp(signal, message, items, &self.source)).await
        } else {
            Err(Refusal::Unsupported { signal })
        };
        let [traces, metrics, logs] = &*self.counters;
        let counters = match signal {
            Signal::Traces => traces,
            Signal::Metrics => metrics,
            Signal::Logs => logs,
        };
        let counter = if answer.is_ok() { &counters.accepted } else { &counters.refused };
        counter.inc_by(items as u64);
        answer.map_err(Problem::Refused)
    }
}

/// The message, its texts mended if they are not UTF-8, and how many items it has.
fn checked(signal: Signal, message: Bytes) -> Result<(Bytes, usize), WireError> {
    match wire::check(signal, &message) {
        Err(WireError::Text { .. }) => {
            let mended = Bytes::from(wire::mend_text(signal, &message)?);
            let items = wire::check(signal, &mended)?;
            Ok((mended, items))
        }
        items => Ok((message, items?)),
    }
}
