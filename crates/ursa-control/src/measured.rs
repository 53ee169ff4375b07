//! The store, each call of which is measured.

use std::sync::Arc;

use futures::stream::BoxStream;
use tokio::time::Instant;
use ursa_model::ResourceKey;
use ursa_store::{Change, Event, Filter, Listing, Record, Store, StoreError, Written};

use crate::metrics::Metrics;
use crate::spans::{Span, Tracer};

/// Does what its store does, counts how long that took and what was refused, and makes a span of what somebody asked for.
#[derive(Debug)]
pub(crate) struct Measured {
    store: Arc<dyn Store>,
    metrics: Metrics,
    tracer: Tracer,
}

impl Measured {
    pub(crate) fn new(store: Arc<dyn Store>, metrics: Metrics, tracer: Tracer) -> Self {
        Self { store, metrics, tracer }
    }

    fn span(&self, name: &'static str, operation: &str, kind: &str) -> Span {
        let mut span = self.tracer.here(name);
        span.set("db.operation.name", operation);
        if !kind.is_empty() {
            span.set("ursa.resource.type", kind);
        }
        span
    }
}

fn judge<T>(span: &mut Span, result: &Result<T, StoreError>) {
    if let Err(error) = result {
        let kind = match error {
            StoreError::Conflict { .. } => "conflict",
            StoreError::AlreadyExists { .. } => "already_exists",
            StoreError::NotFound { .. } => "not_found",
            StoreError::Unavailable { .. } => "unavailable",
        };
        span.set("error.type", kind);
        span.fail(kind);
    }
}

#[async_trait::async_trait]
impl Store for Measured {
    async fn get(&self, key: &ResourceKey) -> Result<Option<Record>, StoreError> {
        let started = Instant::now();
        let mut span = self.span("store get", "get", &key.kind);
        let record = self.store.get(key).await;
        judge(&mut span, &record);
        self.metrics.store_used("get", &key.kind, started.elapsed());
        record
    }

    async fn list(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let started = Instant::now();
        let kind = filter.kind.as_deref().unwrap_or_default();
        let mut span = self.span("store list", "list", kind);
        let listing = self.store.list(filter).await;
        judge(&mut span, &listing);
        self.metrics.store_used("list", kind, started.elapsed());
        listing
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Written, StoreError> {
        let kind = match changes.as_slice() {
            [only] => only.key().kind.clone(),
            _ => String::new(),
        };
        let started = Instant::now();
        let mut span = self.span("store write", "write", &kind);
        span.set("ursa.changes", changes.len());
        self.tracer.causes(changes.iter().map(Change::key));
        let written = self.store.write(changes).await;
        judge(&mut span, &written);
        self.metrics.store_used("write", &kind, started.elapsed());
        if let Err(StoreError::Conflict { key, .. } | StoreError::AlreadyExists { key }) = &written
        {
            self.metrics.conflict(&key.kind);
        }
        written
    }

    fn watch(&self, after: u64) -> BoxStream<'static, Event> {
        self.store.watch(after)
    }
}
