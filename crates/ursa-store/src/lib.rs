//! Where resources are kept: versions, watches, atomic writes.
//!
//! A resource is a key and the text of its document, exactly as written. A [`Store`] keeps them,
//! changes several at once or none, refuses a change made in ignorance of another, and tells what
//! changed. Kinds: [`MemoryStore`] and [`SqliteStore`].
//!
//! ```
//! # async fn example() -> Result<(), ursa_store::StoreError> {
//! # let key = |name: &str| ursa_model::ResourceKey {
//! #     kind: "Mesh".into(), mesh: None, name: name.into() };
//! use ursa_store::{Change, Expect, MemoryStore, Store};
//!
//! let store = MemoryStore::new();
//! let written = store.write(vec![Change::put(key("default"), "type: Mesh\nname: default\n")]).await?;
//! let version = written.records[0].as_ref().unwrap().version;
//! // Somebody else changes it …
//! store.write(vec![Change::put(key("default"), "type: Mesh\nname: default # ours\n")]).await?;
//! // … so that this, made from the first version, is refused.
//! let stale = Change::Delete { key: key("default"), expect: Expect::Version(version) };
//! assert!(store.write(vec![stale]).await.is_err());
//! # Ok(()) }
//! ```
//!
//! # Invariants
//!
//! - [`Store::write`] is atomic and durable (as far as its kind is) before it returns, and goes on to
//!   its end when its caller is dropped.
//! - The *revision* counts the writes that changed something. A record's version is the revision
//!   that last changed its text, so that a version is never used again, not even by a resource that
//!   is deleted and made anew.
//! - A [`Listing`] is of one revision, and [`Store::watch`] from it misses nothing.
//!
//! Not here: what the resources mean. Texts are not read, keys not interpreted.

mod error;
mod journal;
mod memory;
mod plan;
mod record;
mod sqlite;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use futures::stream::BoxStream;
use ursa_model::ResourceKey;

pub use error::{OpenError, StoreError};
pub use journal::{Changed, Event, JOURNAL_BYTES, JOURNAL_WRITES};
pub use memory::MemoryStore;
pub use record::{Change, Expect, Filter, Listing, Origin, Record, Written};
pub use sqlite::{SCHEMA_VERSION, SqliteStore};

/// A place where resources are kept.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// One record, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn get(&self, key: &ResourceKey) -> Result<Option<Record>, StoreError>;

    /// All records that `filter` lets through.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list(&self, filter: &Filter) -> Result<Listing, StoreError>;

    /// Makes all changes, in order, or none. A text that is as before keeps its version and its
    /// times; where it came from is brought up to date.
    ///
    /// # Errors
    /// What the first change that does not hold says; see [`Expect`]. [`StoreError::Unavailable`].
    async fn write(&self, changes: Vec<Change>) -> Result<Written, StoreError>;

    /// What changes after a revision: that of a [`Listing`] or of [`Written`]. Ends with the store.
    fn watch(&self, after: u64) -> BoxStream<'static, Event>;
}
