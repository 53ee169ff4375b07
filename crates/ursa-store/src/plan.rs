//! What a write does: decided here, without I/O, for every kind of store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ursa_model::ResourceKey;

use crate::{Change, Changed, Expect, Record, StoreError, Written};

/// A write that holds, still to be carried out.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What its caller is told.
    pub(crate) written: Written,
    /// What is to be changed, one entry per resource, sorted by key. Empty: nothing.
    pub(crate) changes: Vec<Changed>,
}

/// Plans `changes` on a store at `revision`, in which `found` are the records of the keys named.
pub(crate) fn plan(
    changes: Vec<Change>,
    found: &BTreeMap<ResourceKey, Record>,
    revision: u64,
    now: Timestamp,
) -> Result<Plan, StoreError> {
    let next = revision + 1;
    // What has changed so far, so that a later change of the same resource sees it.
    let mut touched: BTreeMap<ResourceKey, Option<Record>> = BTreeMap::new();
    let mut records = Vec::with_capacity(changes.len());
    for change in changes {
        let current = match touched.get(change.key()) {
            Some(touched) => touched.as_ref(),
            None => found.get(change.key()),
        };
        let (key, after) = match change {
            Change::Put { key, text, origin, expect } => {
                check(&key, expect, current)?;
                let unchanged = current.filter(|current| current.text == text);
                let after = Record {
                    version: unchanged.map_or(next, |current| current.version),
                    created: current.map_or(now, |current| current.created),
                    modified: unchanged.map_or(now, |current| current.modified),
                    key: key.clone(),
                    text,
                    origin,
                };
                (key, Some(after))
            }
            Change::Delete { key, expect } => {
                check(&key, expect, current)?;
                (key, None)
            }
        };
        records.push(after.clone());
        touched.insert(key, after);
    }
    touched.retain(|key, after| after.as_ref() != found.get(key));
    let changes: Vec<Changed> =
        touched.into_iter().map(|(key, record)| Changed { key, record }).collect();
    let revision = if changes.is_empty() { revision } else { next };
    Ok(Plan { written: Written { revision, records }, changes })
}

fn check(key: &ResourceKey, expect: Expect, current: Option<&Record>) -> Result<(), StoreError> {
    let version = current.map(|current| current.version);
    match (expect, version) {
        (Expect::Absent, Some(_)) => Err(StoreError::AlreadyExists { key: key.clone() }),
        (Expect::Present, None) => Err(StoreError::NotFound { key: key.clone() }),
        (Expect::Version(expected), found) if found != Some(expected) => {
            Err(StoreError::Conflict { key: key.clone(), expected, found })
        }
        _ => Ok(()),
    }
}
