//! What a queue knows: which records wait, are in flight or are settled, in which lane, and where
//! their contents are. No input or output; the time is an argument.

mod contents;
mod counts;
mod gone;
mod lane;
mod recorded;
mod segment;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Stamp;
use crate::options::{Options, PushError, RECOVERED, Record};
use crate::ranges::Ranges;

use contents::CACHE_OVERHEAD;
pub(crate) use contents::Place;
pub use counts::{Counts, SourceCounts};
use lane::LaneState;
pub use lane::{Due, Lane, Want};
pub(crate) use lane::{DueAt, Taken};
use segment::Segment;
pub(crate) use segment::{Entry, Phase};

/// What a record takes in memory besides its contents.
const MEMORY_OVERHEAD: u64 = 256;
/// What it takes in a file.
const DISK_OVERHEAD: u64 = 40;
/// On disk no record counts for less.
const MIN_COST: u64 = 256;
/// No record is longer, so that places in a segment are 32 bits wide.
const MAX_RECORD_BYTES: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Disk,
}

#[derive(Debug)]
pub(crate) struct State {
    kind: Kind,
    segments: VecDeque<Segment>,
    /// Sequence number of the next record.
    pub(crate) next: u64,
    /// On disk, everything that is settled.
    pub(crate) settled: Ranges,
    /// Segments that nobody needs any more.
    pub(crate) gone: Vec<u64>,
    /// The segment that is written, if there is one already.
    written: Option<u64>,
    /// Where the live lane starts, when there are two.
    split: Option<u64>,
    lanes: [LaneState; 2],
    sources: BTreeMap<u16, SourceCounts>,
    in_flight_items: u64,
    entered_items: u64,
    /// Of the capacity, by records stored,
    stored: u64,
    /// and by records that are being written.
    reserved: u64,
    capacity: u64,
    segment_bytes: u64,
    max_age: Option<Duration>,
    cached: usize,
    cache_bytes: usize,
    /// Nothing before is in memory (on disk only).
    cache_from: u64,
    /// What all records that were ever settled took, on disk,
    settled_bytes: u64,
    /// and those of them that the file says are settled.
    recorded_bytes: u64,
    cursor_lag: u64,
    pub(crate) closed: bool,
    batches: u64,
}

impl State {
    pub(crate) fn new(kind: Kind, options: &Options) -> Self {
        Self {
            kind,
            segments: VecDeque::new(),
            next: 0,
            settled: Ranges::default(),
            gone: Vec::new(),
            written: None,
            split: None,
            lanes: [LaneState::default(); 2],
            sources: BTreeMap::new(),
            in_flight_items: 0,
            entered_items: 0,
            stored: 0,
            reserved: 0,
            capacity: options.capacity,
            segment_bytes: options.segment_bytes,
            max_age: options.max_age,
            cached: 0,
            cache_bytes: options.cache_bytes,
            cache_from: 0,
            settled_bytes: 0,
            recorded_bytes: 0,
            cursor_lag: options.cursor_lag,
            closed: false,
            batches: 0,
        }
    }

    /// One on disk, of which this is settled, and what else there is is found.
    pub(crate) fn recovering(options: &Options, settled: Ranges) -> Self {
        Self { settled, ..Self::new(Kind::Disk, options) }
    }

    /// What a record of this length takes of the capacity.
    pub(crate) fn cost(&self, length: usize) -> u64 {
        match self.kind {
            Kind::Memory => length as u64 + MEMORY_OVERHEAD,
            Kind::Disk => (length as u64 + DISK_OVERHEAD).max(MIN_COST),
        }
    }

    /// At this size the next record begins a segment.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.min(self.capacity / 16).clamp(4 << 10, 1 << 30)
    }

    /// Keeps room for a record.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<(), PushError> {
        let cost = self.cost(length);
        if self.closed {
            return Err(PushError::Closed);
        }
        if cost > self.capacity || length as u64 > MAX_RECORD_BYTES {
            return Err(PushError::TooLarge);
        }
        if self.stored.saturating_add(self.reserved).saturating_add(cost) > self.capacity {
            return Err(PushError::Full);
        }
        self.reserved += cost;
        Ok(())
    }

    /// Gives up the room that was kept for a record.
    pub(crate) fn unreserve(&mut self, length: usize) {
        self.reserved -= self.cost(length).min(self.reserved);
    }

    /// Stores a record in memory. Says whether the consumer is to be woken.
    pub(crate) fn store(&mut self, record: Record, at: Stamp) -> bool {
        let full = self.segments.back().is_none_or(|last| last.bytes >= self.segment_bytes());
        if full {
            let number = self.segments.back().map_or(0, |last| last.number + 1);
            self.begin_segment(number, 0);
        }
        self.publish(record, 0, at)
    }

    /// Begins a segment: what is published belongs to it.
    pub(crate) fn begin_segment(&mut self, number: u64, mark: u32) {
        if let Some(last) = self.segments.back_mut() {
            last.entries.shrink_to_fit();
            if self.kind == Kind::Disk && self.cache_from >= last.end() {
                last.contents = Vec::new();
            }
        }
        self.segments.push_back(Segment::new(number, mark, self.next));
        self.written = Some(number);
        self.retire();
    }

    /// The segment that is written.
    pub(crate) fn written(&self) -> Option<u64> {
        self.written
    }

    /// All that was found is there.
    pub(crate) fn recovery_ends(&mut self) {
        self.next = self.next.max(self.settled.end());
        self.written = None;
        self.retire();
    }

    /// A record is stored at this offset of the last segment. Says whether the consumer is to be
    /// woken.
    pub(crate) fn publish(&mut self, record: Record, offset: u32, at: Stamp) -> bool {
        let Record { form, source, items, bytes } = record;
        self.unreserve(bytes.len());
        let length = u32::try_from(bytes.len()).expect("reserve() refuses longer ones");
        let entry = Entry { at, offset, length, items, source, form, phase: Phase::Waiting };
        self.enter(entry);
        let last = self.segments.back_mut().expect("a segment was begun");
        last.contents.resize(last.entries.len() - 1, None);
        last.contents.push(Some(bytes));
        if self.kind == Kind::Disk {
            self.cached += length as usize + CACHE_OVERHEAD;
            self.evict();
        }
        let lane = &self.lanes[Lane::Live as usize];
        let before = lane.bytes - u64::from(length);
        lane.waiting == 1 || (before < lane.wanted && lane.bytes >= lane.wanted)
    }

    /// Adds a record to the last segment.
    fn enter(&mut self, entry: Entry) {
        let cost = self.cost(entry.length as usize);
        let last = self.segments.back_mut().expect("a segment was begun");
        last.entries.push(entry);
        last.bytes += cost;
        last.open += 1;
        last.waiting += 1;
        self.next += 1;
        self.stored += cost;
        self.entered_items += u64::from(entry.items);
        self.sources.entry(entry.source).or_default().entered_items += u64::from(entry.items);
        let lane = &mut self.lanes[Lane::Live as usize];
        lane.in_flight += 1;
        self.in_flight_items += u64::from(entry.items);
        self.sources.entry(entry.source).or_default().in_flight_items += u64::from(entry.items);
        self.waits(self.next - 1, &entry);
    }

    /// Adds what was found in the last segment at the start: a record that waits, or one that does
    /// not any more.
    pub(crate) fn recover(&mut self, found: Option<Entry>) {
        match found {
            Some(entry) => self.enter(Entry { source: RECOVERED, phase: Phase::Waiting, ..entry }),
            None => {
                let last = self.segments.back_mut().expect("a segment was begun");
                last.entries.push(Entry::SETTLED);
                last.settle_prefix();
                self.next += 1;
            }
        }
    }

    /// Changes a record's phase, if it is in the first one.
    fn turn(&mut self, sequence: u64, from: Phase, to: Phase) -> Option<Entry> {
        let (at, index) = self.find(sequence)?;
        let segment = &mut self.segments[at];
        let entry = &mut segment.entries[index];
        if entry.phase != from {
            return None;
        }
        entry.phase = to;
        let entry = *entry;
        segment.waiting -= usize::from(from == Phase::Waiting);
        segment.waiting += usize::from(to == Phase::Waiting);
        if to == Phase::Settled {
            segment.open -= 1;
            if index == segment.settled {
                segment.settle_prefix();
            }
            let contents = segment.contents.get_mut(index).and_then(Option::take);
            if self.kind == Kind::Disk && contents.is_some() {
                self.cached -= entry.length as usize + CACHE_OVERHEAD;
            }
        }
        Some(entry)
    }

    pub(crate) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(crate) fn set_max_age(&mut self, max_age: Option<Duration>) {
        self.max_age = max_age;
    }

    pub(crate) fn is_crowded(&self, bytes: u64) -> bool {
        !self.closed && self.lanes[Lane::Live as usize].bytes > bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stored == 0 && self.reserved == 0
    }
}
