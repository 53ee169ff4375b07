//! Taking a request: processors, then every backend's queue at once.
//!
//! A request is acknowledged when it is stored. A backend whose queue is full must not hold up the
//! others, nor may its senders repeat what others have: so when at least one queue took the request
//! it is acknowledged, and counted as dropped (`queue_full`, `disk`) for each that did not. When none
//! did, it is refused whole, and the sender keeps it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use ursa_otlp::process::{Filtered, Processed};
use ursa_otlp::wire;
use ursa_otlp::{datadog, zipkin};
use ursa_queue::PushError;

use crate::audit::Stored;
use crate::backend::Backend;
use crate::ledger::Loss;
use crate::pipeline::Inner;
use crate::route::{Phase, Route};
use crate::{Form, Received, Refusal, Signal, Sink, translate};

/// What a sender is told to wait when nothing can be taken.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const UNAVAILABLE: Refusal = Refusal::Unavailable { retry_after: RETRY_AFTER };

#[async_trait]
impl Sink for Inner {
    fn takes(&self, signal: Signal) -> bool {
        let table = self.table();
        table.phase != Phase::Running || !table.route(signal).backends.is_empty()
    }

    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        let table = self.table();
        if table.phase != Phase::Running {
            return Err(UNAVAILABLE);
        }
        let route = table.route(received.signal);
        if route.backends.is_empty() {
            return Err(Refusal::Unsupported { signal: received.signal });
        }
        if received.items == 0 {
            return Ok(());
        }
        let source = self.sources.number(&received.source);
        let signal = received.signal;
        let request = Request::process(route, received)?;
        let stored = request.store(source, &route.backends).await?;
        if signal == Signal::Traces {
            let ids = request.otlp().ok();
            let ids = ids.iter().flat_map(|request| wire::span_ids(request));
            let places = route.backends.iter().zip(&stored);
            let places = places.filter_map(|(backend, stored)| Some((backend.name(), (*stored)?)));
            let filtered = request.filtered.iter().map(|out| (&out.rule, &out.spans[..]));
            self.trail.record(source, ids, filtered, places);
        }
        Ok(())
    }
}

/// A request as the processors left it.
struct Request {
    form: Form,
    bytes: Bytes,
    items: usize,
    filtered: Vec<Filtered>,
    /// The same in OTLP, once somebody wanted it.
    otlp: OnceLock<Result<Bytes, String>>,
}

impl Request {
    fn process(route: &Route, received: Received) -> Result<Self, Refusal> {
        let Received { form, request, items, signal, .. } = received;
        let unchanged = |request| Processed { request, items, filtered: Vec::new() };
        let processed = match form {
            _ if route.rules.is_identity(signal) => unchanged(request),
            Form::Otlp => route.rules.apply(signal, &request).map_err(invalid)?,
            Form::Zipkin => zipkin::apply(&route.rules, &request).map_err(invalid)?,
            Form::Datadog => datadog::apply(&route.rules, &request).map_err(invalid)?,
        };
        let Processed { request: bytes, items, filtered } = processed;
        Ok(Self { form, bytes, items, filtered, otlp: OnceLock::new() })
    }

    fn otlp(&self) -> Result<Bytes, String> {
        match self.form {
            Form::Otlp => Ok(self.bytes.clone()),
            form => self.otlp.get_or_init(|| translate::to_otlp(form, &self.bytes)).clone(),
        }
    }

    /// Puts it into every backend's queue. Says for each what came of it; nothing for one that is
    /// gone.
    async fn store(
        &self,
        source: u16,
        backends: &[Arc<Backend>],
    ) -> Result<Vec<Option<Stored>>, Refusal> {
        if self.items == 0 {
            for backend in backends {
                self.count_filtered(source, backend);
            }
            return Ok(vec![None; backends.len()]);
        }
        let push = |backend: &Arc<Backend>| {
            let (form, bytes) = if backend.takes(self.form) {
                (self.form, self.bytes.clone())
            } else {
                (Form::Otlp, self.otlp().map_err(invalid)?)
            };
            let (backend, items) = (Arc::clone(backend), self.items);
            Ok(async move { backend.push(source, form, bytes, items).await })
        };
        // Most have one backend.
        let pushed = match backends {
            [backend] => vec![push(backend)?.await],
            backends => {
                let pushes = backends.iter().map(push).collect::<Result<Vec<_>, Refusal>>()?;
                join_all(pushes).await
            }
        };
        if pushed.iter().all(Result::is_err) {
            return Err(refusal(backends, &pushed));
        }
        let stored = backends.iter().zip(pushed).map(|(backend, pushed)| {
            let loss = match pushed {
                Err(PushError::Closed) => return None,
                Ok(number) => {
                    self.count_filtered(source, backend);
                    return Some(Stored::At(number));
                }
                Err(PushError::Full | PushError::TooLarge) => Loss::QueueFull,
                Err(PushError::Storage(_)) => Loss::Disk,
            };
            self.count_filtered(source, backend);
            backend.lose(source, self.items, loss);
            Some(Stored::Lost(loss))
        });
        Ok(stored.collect())
    }

    fn count_filtered(&self, source: u16, backend: &Backend) {
        if !self.filtered.is_empty() {
            let filtered = self.filtered.iter().map(|out| (&out.rule, out.items as u64));
            backend.filter(source, filtered);
        }
    }
}

/// What a sender is told when no queue took its request.
fn refusal(backends: &[Arc<Backend>], pushed: &[Result<u64, PushError>]) -> Refusal {
    let all = |wanted: fn(&PushError) -> bool| {
        pushed.iter().all(|pushed| pushed.as_ref().is_err_and(wanted))
    };
    if all(|error| *error == PushError::Closed) {
        return UNAVAILABLE;
    }
    // Now or later, it would fit into none.
    if all(|error| matches!(error, PushError::TooLarge | PushError::Closed)) {
        let limit = backends.iter().map(|backend| backend.capacity()).max().unwrap_or_default();
        return Refusal::TooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) };
    }
    Refusal::Full { retry_after: RETRY_AFTER }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error>>) -> Refusal {
    Refusal::Invalid { reason: reason.into().to_string() }
}
