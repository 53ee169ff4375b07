//! One trace as it is held: encoded spans, and the figures that lists and filters need without decoding them.

use std::sync::Arc;

use super::facts::{Facts, SpanId, TraceId};
use super::origins::{OriginId, Origins};

/// A span as it came, with what finds it.
#[derive(Debug)]
pub(super) struct HeldSpan {
    pub(super) encoded: Box<[u8]>,
    id: SpanId,
    pub(super) origin: OriginId,
}

/// Spans with one trace id.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) id: TraceId,
    /// Earliest start and latest end of a span, nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Failed spans.
    pub(super) errors: u32,
    pub(super) spans: Vec<HeldSpan>,
    /// Services in the order of their first span here, and how many spans of each.
    pub(super) services: Vec<(Arc<str>, u32)>,
    root: Root,
    encoded_bytes: usize,
}

/// The span to name the trace by: the earliest without a parent, else the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Root {
    has_parent: bool,
    start: u64,
    /// Index among the spans.
    span: usize,
}

/// What the allocator keeps beside an allocation, and rounds it up by, on average.
const ALLOCATION: usize = 16;

impl Trace {
    pub(super) fn new(facts: &Facts) -> Self {
        Self {
            id: facts.trace,
            start: facts.start,
            end: facts.end,
            errors: 0,
            spans: Vec::new(),
            services: Vec::new(),
            root: Root { has_parent: true, start: u64::MAX, span: usize::MAX },
            encoded_bytes: 0,
        }
    }

    /// Whether this very span is here already: senders repeat what was acknowledged too late.
    pub(super) fn holds(&self, facts: &Facts, encoded: &[u8]) -> bool {
        self.spans.iter().any(|held| held.id == facts.span && *held.encoded == *encoded)
    }

    pub(super) fn push(
        &mut self,
        facts: &Facts,
        encoded: &[u8],
        origin: OriginId,
        service: &Arc<str>,
    ) {
        self.start = self.start.min(facts.start);
        self.end = self.end.max(facts.end);
        self.errors += u32::from(facts.error);
        self.encoded_bytes += encoded.len();
        let span = self.spans.len();
        self.root =
            self.root.min(Root { has_parent: facts.parent.is_some(), start: facts.start, span });
        match self.services.iter_mut().find(|(name, _)| name == service) {
            Some((_, spans)) => *spans += 1,
            None => {
                self.services.reserve_exact(1);
                self.services.push((Arc::clone(service), 1));
            }
        }
        self.spans.reserve_exact(self.growth());
        self.spans.push(HeldSpan { encoded: encoded.into(), id: facts.span, origin });
    }

    /// For how many spans the next one needs new room. A Vec's own doubling from four wastes a third of it,
    /// most traces being short.
    fn growth(&self) -> usize {
        if self.spans.len() < self.spans.capacity() { 0 } else { 2 + self.spans.len() / 4 }
    }

    /// What one more span may add to [`cost`](Self::cost) at most.
    pub(super) fn cost_of_next(&self, encoded: &[u8]) -> usize {
        encoded.len()
            + ALLOCATION
            + self.growth() * size_of::<HeldSpan>()
            + size_of::<(Arc<str>, u32)>()
    }

    /// The encoded span that names the trace.
    pub(super) fn root(&self) -> Option<&HeldSpan> {
        self.spans.get(self.root.span)
    }

    /// What the trace takes of the limit, origins excepted: itself, its three index entries, all it allocated.
    pub(super) fn cost(&self) -> usize {
        /// By age, by id and by start; trees and tables are about two thirds full.
        const INDEXED: usize =
            (size_of::<u64>() + size_of::<(TraceId, u64)>() + size_of::<(u64, u64)>()) * 3 / 2;
        const FIXED: usize = size_of::<Trace>() * 3 / 2 + INDEXED + 2 * ALLOCATION;
        FIXED
            + self.encoded_bytes
            + self.spans.len() * ALLOCATION
            + self.spans.capacity() * size_of::<HeldSpan>()
            + self.services.capacity() * size_of::<(Arc<str>, u32)>()
    }

    pub(super) fn has_service(&self, service: &str) -> bool {
        self.services.iter().any(|(name, _)| **name == *service)
    }

    pub(super) fn release(self, origins: &mut Origins) {
        for span in self.spans {
            origins.release(span.origin);
        }
    }
}
