//! Spans on their way to the pipeline, as exemplars of Envoy's latencies.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::BoxFuture;
use ursa_model::pipeline::metrics::Collection;
use ursa_pipeline::{Form, Received, Refusal, Signal, Sink};
use ursa_series::{Entities, Exemplars, spans};

/// Spans of one request that are looked at. One of each bucket is wanted now and then, not all.
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
}

impl Observed {
    /// Observes if metrics leave at all.
    pub(super) fn configure(&self, collection: &Collection) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if collection.outputs.is_empty() {
            *seen = None;
        } else {
            seen.get_or_insert_default().entities = Entities::new(collection);
        }
    }

    pub(super) fn exemplars(&self) -> Exemplars {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|seen| seen.exemplars.clone()).unwrap_or_default()
    }

    fn observe(&self, request: &[u8]) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Seen { entities, exemplars }) = &mut *seen else { return };
        spans(request, MOST, |cluster, span| {
            if let Some(entity) = entities.cluster(cluster) {
                exemplars.record(entity, span);
            }
        });
    }
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
        if received.signal == Signal::Traces && received.form == Form::Otlp {
            self.observed.observe(&received.request);
        }
        self.sink.accept(received).await
    }

    fn pace(&self, signal: Signal) -> Option<BoxFuture<'_, ()>> {
        self.sink.pace(signal)
    }
}
