//! In memory: for tests, and for a control plane without a data directory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use ursa_model::ResourceKey;

use crate::journal::Journal;
use crate::plan::plan;
use crate::{Change, Event, Filter, Listing, Record, Store, StoreError, Written};

/// A store that lasts as long as its process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    journal: Journal,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<ResourceKey, Record>,
    revision: u64,
}

impl MemoryStore {
    /// An empty store at revision 0.
    pub fn new() -> Self {
        Self { state: Mutex::default(), journal: Journal::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &ResourceKey) -> Result<Option<Record>, StoreError> {
        Ok(self.state().records.get(key).cloned())
    }

    async fn list(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let state = self.state();
        let records = state.records.values().filter(|record| filter.matches(&record.key));
        Ok(Listing { records: records.cloned().collect(), revision: state.revision })
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Written, StoreError> {
        let mut state = self.state();
        let plan = plan(changes, &state.records, state.revision, Timestamp::now())?;
        if plan.changes.is_empty() {
            return Ok(plan.written);
        }
        state.revision = plan.written.revision;
        for changed in &plan.changes {
            match &changed.record {
                Some(record) => state.records.insert(changed.key.clone(), record.clone()),
                None => state.records.remove(&changed.key),
            };
        }
        // Under the lock, so that the journal has the writes in their order.
        self.journal.enter(plan.changes);
        drop(state);
        Ok(plan.written)
    }

    fn watch(&self, after: u64) -> BoxStream<'static, Event> {
        self.journal.watch(after)
    }
}
