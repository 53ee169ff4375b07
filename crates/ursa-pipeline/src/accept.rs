//! Taking a request: processors, then every backend's queue at once.
//!
//! A request is acknowledged when it is stored. A backend whose queue is full must not hold up the
//! others, nor may its senders repeat what others have: so when at least one queue took the request
//! it is acknowledged, and counted as dropped (`queue_full`, `disk`) for each that did not. When none
//! did, it is refused whole, and the sender keeps it.
//!
//! While backends take what they are sent, senders that are faster than all of them have their answer a
//! little later, rather than fill the queues: what is in memory stays small.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all, select_all};
use tokio::time::timeout;
use ursa_otlp::process::{Filtered, Processed};
use ursa_otlp::wire::{self, Checked};
use ursa_otlp::{datadog, zipkin};
use ursa_queue::PushError;

use crate::audit::Stored;
use crate::backend::Backend;
use crate::ledger::Loss;
use crate::pipeline::Inner;
use crate::route::{Branch, Phase};
use crate::{Form, Received, Refusal, Signal, Sink, translate};

/// What a sender is told to wait when nothing can be taken.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// What a sender waits at most for a backend that is slower.
const PACE: Duration = Duration::from_millis(100);
const UNAVAILABLE: Refusal = Refusal::Unavailable { retry_after: RETRY_AFTER };

#[async_trait]
impl Sink for Inner {
    fn takes(&self, signal: Signal) -> bool {
        let table = self.table();
        table.phase != Phase::Running || table.takes(signal)
    }

    async fn accept(&self, mut received: Received) -> Result<(), Refusal> {
        let table = self.table();
        if table.phase != Phase::Running {
            return Err(UNAVAILABLE);
        }
        let route = table.route_of(received.signal, received.channel.as_deref());
        if route.branches().is_empty() {
            return Err(Refusal::Unsupported { signal: received.signal });
        }
        if received.items == 0 {
            return Ok(());
        }
        if let Some(records) = &route.records {
            received.request = records.apply(&received.request).map_err(invalid)?;
            received.found = Checked { items: received.items, ..Checked::default() };
        }
        let source = self.sources.number(&received.source);
        let signal = received.signal;
        let requests = route.branches().iter().map(|branch| Request::process(branch, &received));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let branches = route.branches().iter().zip(&requests);
        let pairs: Vec<_> = branches
            .flat_map(|(branch, request)| branch.backends.iter().map(move |one| (one, request)))
            .collect();
        let stored = store(source, &pairs).await?;
        if let (Signal::Traces, Some(request)) = (signal, requests.first()) {
            // Attributes are all that branches differ in.
            let otlp = &request.otlp;
            let ids = wire::span_ids(&otlp.bytes);
            let places = route.backends().zip(&stored);
            let places = places.filter_map(|(backend, stored)| Some((backend.name(), (*stored)?)));
            let filtered = otlp.filtered.iter().map(|out| (&out.rule, &out.spans[..]));
            self.trail.record(source, ids, filtered, places);
        }
        Ok(())
    }

    fn pace(&self, signal: Signal) -> Option<BoxFuture<'_, ()>> {
        // The fastest backend sets the pace: a slower one delays no other.
        let table = self.table();
        let backends: Vec<_> = table.route(signal).backends().map(Arc::clone).collect();
        if backends.is_empty() || !backends.iter().all(|backend| backend.is_crowded()) {
            return None;
        }
        Some(Box::pin(async move {
            let room = select_all(backends.iter().map(|backend| Box::pin(backend.room())));
            // Whoever waited long enough goes on: the queue is there to be filled.
            drop(timeout(PACE, room).await);
        }))
    }
}

/// A request as the processors left it, in every form that a backend takes.
struct Request {
    otlp: Variant,
    /// In the form in which it came, if that is another one and a backend takes it.
    native: Option<Variant>,
}

/// A request in one form. The processors act on each form by itself: only in OTLP is there all that
/// they speak of.
struct Variant {
    form: Form,
    bytes: Bytes,
    items: usize,
    filtered: Vec<Filtered>,
}

impl Request {
    fn process(branch: &Branch, received: &Received) -> Result<Self, Refusal> {
        let Received { form, request, items, signal, found, .. } = received;
        let (form, items, signal, found) = (*form, *items, *signal, *found);
        let rules = &branch.rules;
        let variant = |form, request: Bytes| {
            let processed = match form {
                _ if rules.is_identity(signal) => {
                    Processed { request, items, filtered: Vec::new() }
                }
                Form::Otlp => rules.apply_checked(signal, &request, found).map_err(invalid)?,
                Form::Zipkin => zipkin::apply(rules, &request).map_err(invalid)?,
                Form::Datadog => datadog::apply(rules, &request).map_err(invalid)?,
            };
            let Processed { request: bytes, items, filtered } = processed;
            Ok(Variant { form, bytes, items, filtered })
        };
        let is_wanted = form != Form::Otlp && branch.backends.iter().any(|one| one.takes(form));
        let native = is_wanted.then(|| variant(form, request.clone())).transpose()?;
        let otlp = translate::to_otlp(form, request).map_err(invalid)?;
        Ok(Self { otlp: variant(Form::Otlp, otlp)?, native })
    }

    /// As this backend takes it.
    fn of(&self, backend: &Backend) -> &Variant {
        self.native.as_ref().filter(|native| backend.takes(native.form)).unwrap_or(&self.otlp)
    }
}

/// Puts requests into their backends' queues. Says for each backend what came of it; nothing for one
/// that is gone, or for which nothing was left.
async fn store(
    source: u16,
    pairs: &[(&Arc<Backend>, &Request)],
) -> Result<Vec<Option<Stored>>, Refusal> {
    let push = async |(backend, request): &(&Arc<Backend>, &Request)| {
        let Variant { form, bytes, items, .. } = request.of(backend);
        match items {
            0 => Ok(None),
            _ => backend.push(source, *form, bytes.clone(), *items).await.map(Some),
        }
    };
    // Most have one backend.
    let pushed = match pairs {
        [pair] => vec![push(pair).await],
        pairs => join_all(pairs.iter().map(push)).await,
    };
    // A variant of which nothing was left makes nothing safe of another that found no room.
    let is_stored = pushed.iter().any(|pushed| matches!(pushed, Ok(Some(_))));
    if !is_stored && pushed.iter().any(Result::is_err) {
        return Err(refusal(pairs.iter().map(|(backend, _)| *backend), &pushed));
    }
    let stored = pairs.iter().zip(pushed).map(|((backend, request), pushed)| {
        let Variant { items, filtered, .. } = request.of(backend);
        let loss = match pushed {
            Err(PushError::Closed) => return None,
            Ok(_) => None,
            Err(PushError::Full | PushError::TooLarge) => Some(Loss::QueueFull),
            Err(PushError::Storage(_)) => Some(Loss::Disk),
        };
        if !filtered.is_empty() {
            let filtered = filtered.iter().map(|out| (&out.rule, out.items as u64));
            backend.filter(source, filtered);
        }
        if let Some(loss) = loss {
            backend.lose(source, *items, loss);
        }
        loss.map(Stored::Lost).or_else(|| Some(Stored::At(pushed.ok()??)))
    });
    Ok(stored.collect())
}

/// What a sender is told when no queue took its request.
fn refusal<'a>(
    backends: impl Iterator<Item = &'a Arc<Backend>>,
    pushed: &[Result<Option<u64>, PushError>],
) -> Refusal {
    let all = |wanted: fn(&PushError) -> bool| {
        pushed.iter().all(|pushed| pushed.as_ref().is_err_and(wanted))
    };
    if all(|error| *error == PushError::Closed) {
        return UNAVAILABLE;
    }
    // Now or later, it would fit into none.
    if all(|error| matches!(error, PushError::TooLarge | PushError::Closed)) {
        let limit = backends.map(|backend| backend.capacity()).max().unwrap_or_default();
        return Refusal::TooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) };
    }
    Refusal::Full { retry_after: RETRY_AFTER }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error>>) -> Refusal {
    Refusal::Invalid { reason: reason.into().to_string() }
}
