//! In a SQLite file: the default of a control plane.
//!
//! One task owns the one connection. It holds the file exclusively, so that a second control plane
//! on the same data directory is refused, and a caller that goes away does not leave a write half
//! known: committed, but not told to the watchers.
//!
//! A write is one transaction in the write-ahead log, and returns after the log was synced
//! (`synchronous = FULL`): `kill -9` or a power cut leaves every acknowledged write whole and no
//! write half.

mod file;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use ursa_model::ResourceKey;

use crate::journal::Journal;
use crate::plan::plan;
use crate::{Change, Event, Filter, Listing, OpenError, Record, Store, StoreError, Written};
use file::File;

pub use file::SCHEMA_VERSION;

/// Calls that may wait for the connection; further ones wait to be let in.
const WAITING_CALLS: usize = 64;

/// A store in one file.
#[derive(Debug)]
pub struct SqliteStore {
    calls: mpsc::Sender<Call>,
    journal: Arc<Journal>,
    /// Dropping it ends the task, which closes the file.
    _task: JoinSet<()>,
}

#[derive(Debug)]
enum Call {
    Get { key: ResourceKey, reply: Reply<Option<Record>> },
    List { filter: Filter, reply: Reply<Listing> },
    Write { changes: Vec<Change>, reply: Reply<Written> },
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

impl SqliteStore {
    /// Opens the file, or makes it, readable by its owner only. Its directory must exist.
    ///
    /// # Errors
    /// [`OpenError`]: the file is in use, newer, or something else.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let file = File::open(path.as_ref()).await?;
        let journal = Arc::new(Journal::new(file.revision()));
        let (calls, waiting) = mpsc::channel(WAITING_CALLS);
        let mut task = JoinSet::new();
        task.spawn(serve(file, Arc::clone(&journal), waiting));
        Ok(Self { calls, journal, _task: task })
    }

    async fn call<T>(&self, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("its file is closed")
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &ResourceKey) -> Result<Option<Record>, StoreError> {
        let key = key.clone();
        self.call(|reply| Call::Get { key, reply }).await
    }

    async fn list(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let filter = filter.clone();
        self.call(|reply| Call::List { filter, reply }).await
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Written, StoreError> {
        self.call(|reply| Call::Write { changes, reply }).await
    }

    fn watch(&self, after: u64) -> BoxStream<'static, Event> {
        self.journal.watch(after)
    }
}

async fn serve(mut file: File, journal: Arc<Journal>, mut calls: mpsc::Receiver<Call>) {
    while let Some(call) = calls.recv().await {
        // That a caller no longer waits for its answer is no failure.
        match call {
            Call::Get { key, reply } => drop(reply.send(file.get(&key).await)),
            Call::List { filter, reply } => drop(reply.send(file.list(&filter).await)),
            Call::Write { changes, reply } => {
                drop(reply.send(write(&mut file, &journal, changes).await));
            }
        }
    }
}

async fn write(
    file: &mut File,
    journal: &Journal,
    changes: Vec<Change>,
) -> Result<Written, StoreError> {
    let mut found = BTreeMap::new();
    for change in &changes {
        if let Some(record) = file.get(change.key()).await? {
            found.insert(record.key.clone(), record);
        }
    }
    let plan = plan(changes, &found, file.revision(), Timestamp::now())?;
    if !plan.changes.is_empty() {
        file.commit(plan.written.revision, &plan.changes).await?;
        journal.enter(plan.changes);
    }
    Ok(plan.written)
}
