//! Spans on their way to the pipeline, as exemplars of Envoy's latencies and as durations of requests.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use ursa_model::pipeline::metrics::{Collection, SpanLabel};
use ursa_pipeline::{Form, Received, Refusal, Signal, Sink};
use ursa_series::{Durations, Entities, Exemplars, spans};

use super::gather::now;

/// Spans of one request that are looked at for exemplars. One of each bucket is wanted now and then, not all.
const MOST: usize = 8;

/// What was seen of spans.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    entities: Entities,
    exemplars: Exemplars,
    /// If requests are told apart by what spans say.
    durations: Option<Durations>,
}

impl Observed {
    /// Observes if metrics leave at all. What was counted by the same labels goes on.
    pub(super) fn configure(&self, collection: &Collection, labels: &[SpanLabel]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if collection.outputs.is_empty() {
            *seen = None;
        } else {
            let seen = seen.get_or_insert_default();
            seen.entities = Entities::new(collection);
            let before = seen.durations.take().filter(|durations| durations.is_by(labels));
            let is_wanted = !labels.is_empty();
            seen.durations = is_wanted.then(|| before.unwrap_or_else(|| Durations::new(labels)));
        }
    }

    pub(super) fn exemplars(&self) -> Exemplars {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|seen| seen.exemplars.clone()).unwrap_or_default()
    }

    /// How long requests took, as it stands.
    pub(super) fn durations(&self) -> Option<Durations> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = seen.as_mut()?.durations.as_mut()?;
        durations.expire(seconds());
        Some(durations.clone())
    }

    fn observe(&self, request: &[u8]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Seen { entities, exemplars, durations }) = &mut *seen else { return };
        let most = if durations.is_some() { usize::MAX } else { MOST };
        let (now, mut looked_at) = (seconds(), 0_usize);
        spans(request, most, |span| {
            let Some(entity) = entities.cluster(span.cluster) else { return };
            if looked_at < MOST {
                looked_at = looked_at.saturating_add(1);
                exemplars.record(entity, span.exemplar);
            }
            if let Some(durations) = durations
                && span.is_whole
            {
                durations.record(entity, span, now);
            }
        });
    }
}

/// Since 1970.
fn seconds() -> u64 {
    now() / 1_000_000_000
}

/// A sink that looks at what passes.
#[derive(Debug)]
pub(crate) struct Observing {
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) observed: Arc<Observed>,
}

#[async_trait]
impl Sink for Observing {
    fn takes(&self, signal: Signal) -> bool {
        self.sink.takes(signal)
    }

    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        let is_seen = received.signal == Signal::Traces && received.form == Form::Otlp;
        let request = is_seen.then(|| received.request.clone());
        self.sink.accept(received).await?;
        // What was refused comes again, and counts once.
        if let Some(request) = request {
            self.observed.observe(&request);
        }
        Ok(())
    }

    fn pace(&self, signal: Signal) -> Option<BoxFuture<'_, ()>> {
        self.sink.pace(signal)
    }
}
