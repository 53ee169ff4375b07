//! The store, each call of which is measured.

use std::sync::Arc;

use futures::stream::BoxStream;
use tokio::time::Instant;
use ursa_model::ResourceKey;
use ursa_store::{Change, Event, Filter, Listing, Record, Store, StoreError, Written};

use crate::metrics::Metrics;

/// Does what its store does, and counts how long that took and what was refused.
#[derive(Debug)]
pub(crate) struct Measured {
    store: Arc<dyn Store>,
    metrics: Metrics,
}

impl Measured {
    pub(crate) fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }
}

#[async_trait::async_trait]
impl Store for Measured {
    async fn get(&self, key: &ResourceKey) -> Result<Option<Record>, StoreError> {
        let started = Instant::now();
        let record = self.store.get(key).await;
        self.metrics.store_used("get", &key.kind, started.elapsed());
        record
    }

    async fn list(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let started = Instant::now();
        let listing = self.store.list(filter).await;
        let kind = filter.kind.as_deref().unwrap_or_default();
        self.metrics.store_used("list", kind, started.elapsed());
        listing
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Written, StoreError> {
        let kind = match changes.as_slice() {
            [only] => only.key().kind.clone(),
            _ => String::new(),
        };
        let started = Instant::now();
        let written = self.store.write(changes).await;
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
