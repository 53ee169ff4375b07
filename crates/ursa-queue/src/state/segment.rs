//! Records and where they stand: segments, and entries in them.

use bytes::Bytes;

use super::State;
use crate::clock::Stamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting,
    InFlight,
    Settled,
}

/// One record. 24 bytes, so that a full queue of small ones stays small in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) at: Stamp,
    /// Of the record in its segment.
    pub(crate) offset: u32,
    /// Of its contents.
    pub(crate) length: u32,
    pub(crate) items: u32,
    pub(crate) source: u16,
    pub(crate) form: u8,
    pub(crate) phase: Phase,
}

/// Records that are deleted together: on disk a file.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// Stands before each of its records on disk.
    pub(crate) mark: u32,
    /// Sequence number of the first entry; the others follow one by one.
    pub(super) first: u64,
    pub(super) entries: Vec<Entry>,
    /// Of the first entries, those that are in memory; none of the rest is.
    pub(super) contents: Vec<Option<Bytes>>,
    pub(super) bytes: u64,
    /// Entries that are not settled.
    pub(super) open: usize,
    pub(super) waiting: usize,
    /// All before are settled.
    pub(super) settled: usize,
}

impl State {
    /// Where the record stands.
    pub(super) fn find(&self, sequence: u64) -> Option<(usize, usize)> {
        let at =
            self.segments.partition_point(|segment| segment.first <= sequence).checked_sub(1)?;
        let segment = &self.segments[at];
        let entry = usize::try_from(sequence - segment.first).ok()?;
        (entry < segment.entries.len()).then_some((at, entry))
    }

    /// The first segment that ends after this record, and where in it to look from.
    pub(super) fn seek(&self, sequence: u64) -> (usize, usize) {
        let at = self.segments.partition_point(|segment| segment.end() <= sequence);
        let from =
            self.segments.get(at).map_or(0, |segment| sequence.saturating_sub(segment.first));
        (at, usize::try_from(from).unwrap_or(usize::MAX))
    }

    /// Calls for each record from this one on that waits, in order, until told to stop.
    pub(super) fn waiting_from(&self, from: u64, mut each: impl FnMut(u64, &Entry) -> bool) {
        let (first, mut skip) = self.seek(from);
        for segment in self.segments.range(first.min(self.segments.len())..) {
            if segment.waiting > 0 {
                let entries = segment.entries.get(skip..).unwrap_or_default();
                for (sequence, entry) in (segment.first + skip as u64..).zip(entries) {
                    if entry.phase == Phase::Waiting && !each(sequence, entry) {
                        return;
                    }
                }
            }
            skip = 0;
        }
    }
}

impl Entry {
    /// A record that nobody needs: only its number counts.
    pub(super) const SETTLED: Self =
        Self { at: 0, offset: 0, length: 0, items: 0, source: 0, form: 0, phase: Phase::Settled };
}

impl Segment {
    pub(super) fn new(number: u64, mark: u32, first: u64) -> Self {
        Self {
            number,
            mark,
            first,
            entries: Vec::new(),
            contents: Vec::new(),
            bytes: 0,
            open: 0,
            waiting: 0,
            settled: 0,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn settle_prefix(&mut self) {
        let settled = |entry: &Entry| entry.phase == Phase::Settled;
        while self.entries.get(self.settled).is_some_and(settled) {
            self.settled += 1;
        }
    }
}
