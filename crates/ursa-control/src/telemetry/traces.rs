//! The traces that are held: bounded in bytes, oldest out first and whole, found by id and by time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::facts::{Facts, TraceId};
use super::origins::{OriginId, Origins};
use super::trace::Trace;

/// A trace takes no more spans than this; further ones are refused and counted.
pub const MAX_SPANS_PER_TRACE: usize = 10_000;

/// The order in which traces came, that is, in which their first spans did.
type Age = u64;

/// Where a listing, newest first, has come to: the start and age of the last trace seen.
pub(super) type Place = (u64, Age);

/// What became of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Kept,
    /// It was here already.
    Repeated,
    /// Its trace alone fills the window, or has [`MAX_SPANS_PER_TRACE`].
    Refused,
}

/// The traces, and the account of what they take.
#[derive(Debug)]
pub(super) struct Traces {
    limit: usize,
    by_age: BTreeMap<Age, Trace>,
    by_id: HashMap<TraceId, Age>,
    by_start: BTreeSet<Place>,
    origins: Origins,
    next_age: Age,
    /// What the traces take, origins excepted.
    bytes: usize,
    spans: usize,
    evicted: u64,
}

impl Traces {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            by_age: BTreeMap::new(),
            by_id: HashMap::new(),
            by_start: BTreeSet::new(),
            origins: Origins::default(),
            next_age: 0,
            bytes: 0,
            spans: 0,
            evicted: 0,
        }
    }

    /// Makes an origin known for the spans that come with it; it is to be [left](Self::leave) after them.
    pub(super) fn enter(&mut self, origin: &[u8]) -> OriginId {
        self.origins.refer(origin)
    }

    /// Ends what [`enter`](Self::enter) began: an origin without spans is forgotten.
    pub(super) fn leave(&mut self, origin: OriginId) {
        self.origins.release(origin);
    }

    /// The service of an origin that was entered.
    pub(super) fn service(&self, origin: OriginId) -> Arc<str> {
        self.origins.get(origin).map_or_else(|| Arc::from(""), |origin| Arc::clone(&origin.service))
    }

    /// Keeps a span of an entered origin, after as many of the oldest other traces left as need be.
    pub(super) fn insert(&mut self, facts: &Facts, encoded: &[u8], origin: OriginId) -> Stored {
        let known = self.by_id.get(&facts.trace).copied();
        if let Some(trace) = known.and_then(|age| self.by_age.get(&age)) {
            if trace.holds(facts, encoded) {
                return Stored::Repeated;
            }
            if trace.spans.len() >= MAX_SPANS_PER_TRACE {
                return Stored::Refused;
            }
        }
        if !self.make_room(known, facts, encoded) {
            return Stored::Refused;
        }
        let age = known.unwrap_or_else(|| self.begin(facts));
        let service = self.service(origin);
        let Some(trace) = self.by_age.get_mut(&age) else { return Stored::Refused };
        let (cost, start) = (trace.cost(), trace.start);
        self.origins.refer_again(origin);
        trace.push(facts, encoded, origin, &service);
        self.spans += 1;
        self.bytes += trace.cost() - cost;
        if trace.start != start {
            self.by_start.remove(&(start, age));
            self.by_start.insert((trace.start, age));
        }
        Stored::Kept
    }

    fn make_room(&mut self, growing: Option<Age>, facts: &Facts, encoded: &[u8]) -> bool {
        let adds = match growing.and_then(|age| self.by_age.get(&age)) {
            Some(trace) => trace.cost_of_next(encoded),
            None => {
                let trace = Trace::new(facts);
                trace.cost() + trace.cost_of_next(encoded)
            }
        };
        while self.bytes() + adds > self.limit {
            let oldest = self.by_age.keys().copied().find(|&age| Some(age) != growing);
            let Some(oldest) = oldest else { return false };
            self.evict(oldest);
        }
        true
    }

    fn begin(&mut self, facts: &Facts) -> Age {
        let age = self.next_age;
        self.next_age += 1;
        let trace = Trace::new(facts);
        self.bytes += trace.cost();
        self.by_id.insert(trace.id, age);
        self.by_start.insert((trace.start, age));
        self.by_age.insert(age, trace);
        age
    }

    fn evict(&mut self, age: Age) {
        let Some(trace) = self.by_age.remove(&age) else { return };
        self.bytes -= trace.cost();
        self.spans -= trace.spans.len();
        self.evicted += 1;
        self.by_id.remove(&trace.id);
        self.by_start.remove(&(trace.start, age));
        trace.release(&mut self.origins);
    }

    pub(super) fn get(&self, id: TraceId) -> Option<&Trace> {
        self.by_age.get(self.by_id.get(&id)?)
    }

    /// Traces by start, newest first, those before `place` if given.
    pub(super) fn newest(&self, place: Option<Place>) -> impl Iterator<Item = (Place, &Trace)> {
        let earlier = match place {
            Some(place) => self.by_start.range(..place),
            None => self.by_start.range(..),
        };
        earlier.rev().filter_map(|place| Some((*place, self.by_age.get(&place.1)?)))
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// What everything held takes; never above [`limit`](Self::limit).
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.origins.bytes()
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }

    pub(super) fn spans(&self) -> usize {
        self.spans
    }

    /// Traces that left to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Asserts that the account is right.
    #[cfg(test)]
    pub(super) fn audit(&self) {
        let (origin_bytes, origin_spans) = self.origins.audit();
        let held: usize = self.by_age.values().map(Trace::cost).sum();
        let spans: usize = self.by_age.values().map(|trace| trace.spans.len()).sum();
        assert_eq!(self.bytes(), held + origin_bytes);
        assert!(self.bytes() <= self.limit);
        assert_eq!((self.spans, self.spans), (spans, origin_spans));
        assert_eq!((self.by_id.len(), self.by_start.len()), (self.len(), self.len()));
        for (age, trace) in &self.by_age {
            assert_eq!(self.by_id[&trace.id], *age);
            assert!(self.by_start.contains(&(trace.start, *age)) && !trace.spans.is_empty());
            assert_eq!(
                trace.services.iter().map(|(_, spans)| *spans as usize).sum::<usize>(),
                trace.spans.len()
            );
        }
    }
}
