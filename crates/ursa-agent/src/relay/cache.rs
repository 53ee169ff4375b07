//! What the control plane said, one shelf per resource type.
//!
//! Every update from the control plane has a serial, counted over all types. An entry knows its
//! newest content and the serial that brought it, the newest serial that was judged (by Envoy, or
//! by the agent for its own types), and the last content that was taken: that one is offered
//! while the newest is refused, also to an Envoy that has just been started again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;

/// Most bytes that the resources of one type may take together, names and [`ENTRY_BYTES`] for each
/// included. What would exceed it is refused.
pub(crate) const MAX_BYTES: usize = 128 * 1024 * 1024;
/// What a resource takes besides its bytes.
const ENTRY_BYTES: usize = 512;
/// Updates of one type that may wait for their answer before no more are read from the control plane.
pub(crate) const MAX_WAITING: usize = 64;
/// Most bytes of a refusal's words.
pub(crate) const MAX_WORDS: usize = 4096;

/// The content of a resource.
pub(crate) struct Item {
    /// Changes exactly when the body does.
    pub(crate) version: String,
    pub(crate) body: Any,
}

/// The body may be a secret.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What somebody should take next of one name.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: String,
    /// `None`: it is gone.
    pub(crate) item: Option<Arc<Item>>,
    /// The update that this is the content of; `None` for what was taken before and is sent again.
    pub(crate) serial: Option<u64>,
}

impl Change {
    pub(crate) fn version(&self) -> Option<&str> {
        self.item.as_ref().map(|item| item.version.as_str())
    }
}

/// The answer to one update: acknowledged, or refused with words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) nonce: String,
    pub(crate) refused: Option<String>,
}

/// All resources of one type.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
    waiting: VecDeque<Waiting>,
    /// Whether the control plane has said anything about this type yet.
    pub(crate) synced: bool,
}

#[derive(Debug)]
struct Entry {
    newest: Option<Arc<Item>>,
    serial: u64,
    good: Option<Arc<Item>>,
    judged: u64,
    refused: Option<String>,
    /// Newest update that was acknowledged although nobody judged it.
    unseen: u64,
}

impl Entry {
    fn is_refused(&self) -> bool {
        self.judged == self.serial && self.refused.is_some()
    }
}

/// An update whose answer depends on names that are not judged yet.
#[derive(Debug)]
struct Waiting {
    nonce: String,
    names: Vec<(String, u64)>,
    refused: Vec<String>,
}

impl Shelf {
    /// Takes an update and returns the names that it touched.
    pub(crate) fn apply(&mut self, update: DeltaDiscoveryResponse, serial: u64) -> Vec<String> {
        self.synced = true;
        let mut waiting = Waiting { nonce: update.nonce, names: Vec::new(), refused: Vec::new() };
        for resource in update.resources {
            let name = resource.name;
            match resource.resource {
                Some(body) if body.type_url == update.type_url && !name.is_empty() => {
                    match self.put(&name, Item { version: resource.version, body }, serial) {
                        Ok(serial) => waiting.names.push((name, serial)),
                        Err(words) => waiting.refused.push(words),
                    }
                }
                _ => waiting.refused.push(format!("{name:?} has no content of its type")),
            }
        }
        for name in update.removed_resources {
            if let Some(entry) = self.entries.get_mut(&name) {
                if let Some(item) = entry.newest.take() {
                    self.bytes = self.bytes.saturating_sub(size(&name, &item));
                    entry.serial = serial;
                }
                waiting.names.push((name, entry.serial));
            }
        }
        let touched = waiting.names.iter().map(|(name, _)| name.clone()).collect();
        self.waiting.push_back(waiting);
        touched
    }

    /// Stores the newest content of a name and returns the serial to wait for.
    fn put(&mut self, name: &str, item: Item, serial: u64) -> Result<u64, String> {
        if let Some(entry) = self.entries.get_mut(name)
            && entry.newest.as_ref().is_some_and(|newest| newest.version == item.version)
        {
            if entry.is_refused() {
                entry.serial = serial;
            }
            return Ok(entry.serial);
        }
        let new = size(name, &item);
        let newest = self.entries.get(name).and_then(|entry| entry.newest.as_ref());
        let old = newest.map_or(0, |item| size(name, item));
        let bytes = self.bytes.saturating_sub(old).saturating_add(new);
        if bytes > MAX_BYTES {
            return Err(format!(
                "{name:?} does not fit: the agent keeps {MAX_BYTES} bytes of a type"
            ));
        }
        self.bytes = bytes;
        let entry = self.entries.entry(name.to_owned()).or_insert(Entry {
            newest: None,
            serial,
            good: None,
            judged: 0,
            refused: None,
            unseen: 0,
        });
        entry.newest = Some(Arc::new(item));
        entry.serial = serial;
        Ok(serial)
    }

    /// What whoever is interested in a name should have: the newest, or while that is refused, what
    /// was taken before.
    pub(crate) fn offered(&self, name: &str) -> Change {
        let name = name.to_owned();
        match self.entries.get(&name) {
            None => Change { name, item: None, serial: None },
            Some(entry) if entry.is_refused() => {
                Change { name, item: entry.good.clone(), serial: None }
            }
            Some(entry) => Change { name, item: entry.newest.clone(), serial: Some(entry.serial) },
        }
    }

    /// All names of which something may be offered.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.entries.keys()
    }

    /// Whether a name's newest content has been judged.
    pub(crate) fn is_judged(&self, name: &str) -> bool {
        self.entries.get(name).is_none_or(|entry| entry.judged == entry.serial)
    }

    /// Notes that a change was taken, or refused with words.
    pub(crate) fn judge(&mut self, change: &Change, verdict: Result<(), &str>) {
        let Some(serial) = change.serial else { return };
        let Some(entry) = self.entries.get_mut(&change.name) else { return };
        entry.judged = entry.judged.max(serial);
        match verdict {
            Ok(()) => {
                entry.refused = None;
                entry.good.clone_from(&change.item);
                if entry.serial == serial && entry.newest.is_none() {
                    self.entries.remove(&change.name);
                }
            }
            Err(words) => {
                entry.refused = Some(bounded(words));
            }
        }
    }

    /// The answers that are due. An update is answered when each of its names was judged, in that
    /// content or a newer one, or when nobody is `interested` in it.
    pub(crate) fn answers(&mut self, interested: impl Fn(&str) -> bool) -> Vec<Answer> {
        let mut due = Vec::new();
        let entries = &mut self.entries;
        self.waiting.retain_mut(|update| {
            let refused = &mut update.refused;
            update.names.retain(|(name, serial)| {
                let Some(entry) = entries.get_mut(name) else { return false };
                if entry.judged >= *serial {
                    refused.extend(entry.refused.clone());
                    return false;
                }
                if interested(name) {
                    return true;
                }
                entry.unseen = entry.unseen.max(*serial);
                if entry.newest.is_none() {
                    entries.remove(name);
                }
                false
            });
            if !update.names.is_empty() {
                return true;
            }
            refused.dedup();
            let refused = (!refused.is_empty()).then(|| bounded(&refused.join("; ")));
            due.push(Answer { nonce: std::mem::take(&mut update.nonce), refused });
            false
        });
        due
    }

    /// Whether more updates may be taken before some are answered.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// The stream to the control plane ended: nobody waits for answers any more.
    pub(crate) fn disconnected(&mut self) {
        self.waiting.clear();
    }

    /// What to tell a control plane that connects again, so that it sends only what differs: what
    /// was taken. Of what was refused, what was there before. A name whose newest content is not
    /// judged yet has no version that fits, so that it is sent, or removed, once more.
    pub(crate) fn versions(&self) -> HashMap<String, String> {
        let versions = self.entries.iter().map(|(name, entry)| {
            let item = match entry {
                entry if entry.is_refused() => entry.good.as_ref(),
                entry if entry.serial == entry.judged.max(entry.unseen) => entry.newest.as_ref(),
                _ => None,
            };
            (name.clone(), item.map(|item| item.version.clone()).unwrap_or_default())
        });
        versions.collect()
    }

    /// Names and words of what is refused.
    pub(crate) fn refused(&self) -> BTreeMap<String, String> {
        let entries = self.entries.iter().filter(|(_, entry)| entry.is_refused());
        let words =
            entries.filter_map(|(name, entry)| Some((name.clone(), entry.refused.clone()?)));
        words.collect()
    }

    /// How many resources there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.values().filter(|entry| entry.newest.is_some()).count()
    }

    /// How many updates wait for their answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn size(name: &str, item: &Item) -> usize {
    [name.len(), item.version.len(), ENTRY_BYTES]
        .into_iter()
        .fold(item.body.value.len(), usize::saturating_add)
}

fn bounded(words: &str) -> String {
    let end = (0..=MAX_WORDS.min(words.len())).rev().find(|&at| words.is_char_boundary(at));
    words.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
