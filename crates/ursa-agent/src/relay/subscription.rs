//! What Envoy wants and has of one resource type, on one stream.
//!
//! At most one response is on its way at a time. When Envoy refuses a response with several changes,
//! it does not say reliably which of them was wrong, so each is sent again by itself: one bad
//! resource never keeps a good one out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cache::{Change, Shelf};

/// The name that subscribes to everything.
const WILDCARD: &str = "*";

#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// Whether Envoy has asked for this type on this stream.
    seen: bool,
    wildcard: bool,
    names: BTreeSet<String>,
    /// What Envoy has.
    held: BTreeMap<String, Held>,
    /// Versions that Envoy has refused; not offered to it again.
    refused: BTreeMap<String, String>,
    /// Names whose offer may differ from what Envoy holds and from what is on its way.
    dirty: BTreeSet<String>,
    /// Names that are sent once more though Envoy has them: it waits for them.
    again: BTreeSet<String>,
    /// Names of a refused response, to be sent one by one, those of the oldest update first.
    suspects: BTreeSet<String>,
    flight: Option<Flight>,
    /// Whether a response was sent; the first may be empty, so that Envoy need not wait.
    greeted: bool,
}

/// What Envoy has of one name.
#[derive(Debug, Default)]
struct Held {
    /// The version that it has acknowledged.
    version: Option<String>,
    /// It may have another: one of a response that it refused as a whole, or one that was on its way
    /// while it changed its mind. What is offered is sent in any case.
    unsure: bool,
}

impl Held {
    fn sure(version: String) -> Self {
        Self { version: Some(version), unsure: false }
    }
}

#[derive(Debug)]
struct Flight {
    nonce: String,
    changes: Vec<Change>,
    /// How many changes were sent, including those of names no longer subscribed.
    sent: usize,
}

impl Subscription {
    /// Envoy's subscribing and unsubscribing. `known` is what it has from an earlier stream.
    pub(crate) fn subscribe(
        &mut self,
        add: Vec<String>,
        remove: &[String],
        known: HashMap<String, String>,
        shelf: &Shelf,
    ) {
        let first = !std::mem::replace(&mut self.seen, true);
        let had_all = self.wildcard;
        // xDS: an empty first request means everything, for the types that know a wildcard.
        if first && add.is_empty() {
            self.wildcard = true;
        }
        for name in remove {
            if name == WILDCARD {
                self.wildcard = false;
            } else {
                self.names.remove(name);
                self.again.remove(name);
                self.forget(name);
            }
        }
        for name in add {
            if name == WILDCARD {
                self.wildcard = true;
            } else {
                self.forget(&name);
                self.dirty.insert(name.clone());
                self.names.insert(name);
            }
        }
        if first {
            self.held.extend(known.into_iter().map(|(name, version)| (name, Held::sure(version))));
            self.dirty.extend(self.held.keys().cloned());
        }
        if self.wildcard && !had_all {
            self.dirty.extend(shelf.names().cloned());
        }
    }

    /// Envoy has dropped a name, or asks for it as if it had. What is on its way may still reach it.
    fn forget(&mut self, name: &str) {
        self.refused.remove(name);
        let flight = self.flight.as_mut();
        let gone = flight.map(|flight| flight.changes.extract_if(.., |change| change.name == name));
        let underway = gone.is_some_and(|mut gone| gone.next().is_some());
        if underway || self.held.get(name).is_some_and(|held| held.unsure) {
            self.held.insert(name.to_owned(), Held { version: None, unsure: true });
        } else {
            self.held.remove(name);
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether Envoy has asked for this type.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen
    }

    /// Whether Envoy has everything of this type that it wants.
    pub(crate) fn is_settled(&self) -> bool {
        self.greeted && self.flight.is_none() && self.dirty.is_empty()
    }

    /// The control plane has said something new of a name.
    pub(crate) fn touch(&mut self, name: &str) {
        if self.seen && self.wants(name) {
            self.refused.remove(name);
            self.dirty.insert(name.to_owned());
        }
    }

    /// Envoy is about to wait for a name, whether it has it or not.
    pub(crate) fn send_again(&mut self, name: &str) {
        if self.seen && self.wants(name) {
            self.again.insert(name.to_owned());
            self.dirty.insert(name.to_owned());
        }
    }

    /// Drops names that need nothing; what Envoy holds already counts as taken.
    pub(crate) fn settle(&mut self, shelf: &mut Shelf) {
        let Self { wildcard, names, held, refused, again, dirty, flight, .. } = self;
        again.retain(|name| shelf.offered(name).item.is_some());
        dirty.extend(again.iter().cloned());
        dirty.retain(|name| {
            if !*wildcard && !names.contains(name) {
                return false;
            }
            if again.contains(name) {
                return true;
            }
            if flight.as_ref().is_some_and(|flight| flight.has(name)) {
                return true;
            }
            let change = shelf.offered(name);
            let held = held.get(name);
            let unsure = held.is_some_and(|held| held.unsure);
            if !unsure && change.version() == held.and_then(|held| held.version.as_deref()) {
                if !shelf.is_judged(name) {
                    shelf.judge(&change, Ok(()));
                }
                return false;
            }
            change.version().is_none() || change.version() != refused.get(name).map(String::as_str)
        });
    }

    /// The oldest update that waits behind an answer of Envoy's.
    pub(crate) fn backlog(&self, shelf: &Shelf) -> Option<u64> {
        if self.flight.is_none() && self.suspects.is_empty() {
            return None;
        }
        self.dirty.iter().filter_map(|name| shelf.offered(name).serial).min()
    }

    /// What to send now, if anything: changes of updates before `barrier`.
    pub(crate) fn next(
        &mut self,
        shelf: &Shelf,
        barrier: Option<u64>,
        nonce: impl FnOnce() -> String,
    ) -> Option<(String, &[Change])> {
        if !self.seen || self.flight.is_some() {
            return None;
        }
        let again = &self.again;
        let before = |change: &Change| match (change.serial, barrier) {
            // What Envoy waits for waits for nothing.
            (Some(serial), Some(barrier)) => serial < barrier || again.contains(&change.name),
            _ => true,
        };
        self.suspects.retain(|name| self.dirty.contains(name));
        let suspects = self.suspects.iter().map(|name| shelf.offered(name));
        let suspect = suspects.filter(before).min_by_key(|change| change.serial);
        let mut changes = if let Some(suspect) = suspect {
            self.suspects.remove(&suspect.name);
            vec![suspect]
        } else {
            let rest = self.dirty.difference(&self.suspects);
            rest.map(|name| shelf.offered(name)).filter(before).collect()
        };
        let greeting = self.wildcard && shelf.synced && !self.greeted && self.dirty.is_empty();
        // Of a name that it asks for and that is not known (yet), Envoy hears when it is.
        changes.retain(|change| change.item.is_some() || self.held.contains_key(&change.name));
        if changes.is_empty() && !greeting {
            return None;
        }
        self.greeted = true;
        for change in &changes {
            self.dirty.remove(&change.name);
            self.again.remove(&change.name);
        }
        let flight = Flight { nonce: nonce(), sent: changes.len(), changes };
        let flight = self.flight.insert(flight);
        Some((flight.nonce.clone(), &flight.changes))
    }

    /// Envoy's answer to a response. One to another response than the last is ignored.
    pub(crate) fn answered(&mut self, nonce: &str, refused: Option<&str>, shelf: &mut Shelf) {
        let Some(flight) = self.flight.take_if(|flight| flight.nonce == nonce) else { return };
        self.dirty.extend(flight.changes.iter().map(|change| change.name.clone()));
        let (wildcard, names) = (self.wildcard, &self.names);
        self.held.retain(|name, held| !held.unsure || wildcard || names.contains(name));
        let several = flight.sent > 1;
        for change in flight.changes {
            match (refused, &change.item) {
                (Some(_), _) if several => {
                    self.held.entry(change.name.clone()).or_default().unsure = true;
                    self.suspects.insert(change.name);
                }
                (Some(words), Some(item)) => {
                    self.refused.insert(change.name.clone(), item.version.clone());
                    shelf.judge(&change, Err(words));
                }
                // Of a refused removal nothing is left that could be offered instead.
                _ => self.take(&change, shelf),
            }
        }
    }

    fn take(&mut self, change: &Change, shelf: &mut Shelf) {
        match &change.item {
            Some(item) => self.held.insert(change.name.clone(), Held::sure(item.version.clone())),
            None => self.held.remove(&change.name),
        };
        shelf.judge(change, Ok(()));
    }
}

impl Flight {
    fn has(&self, name: &str) -> bool {
        self.changes.iter().any(|change| change.name == name)
    }
}
