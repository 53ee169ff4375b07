//! What a queue knows: which records wait, are in flight or are settled, in which lane, and where
//! their contents are. No input or output; the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::batch::{Dropped, Run, Sources};
use crate::clock::{Stamp, micros};
use crate::options::{Options, PushError, RECOVERED, Record};
use crate::ranges::Ranges;

/// What a record takes in memory besides its contents.
const MEMORY_OVERHEAD: u64 = 256;
/// What it takes in a file.
const DISK_OVERHEAD: u64 = 40;
/// On disk no record counts for less.
const MIN_COST: u64 = 256;
/// What a cached record takes besides its contents.
const CACHE_OVERHEAD: usize = 64;
/// No batch has more records, however small they are.
const MAX_BATCH_RECORDS: usize = 16 << 10;
/// No record is longer, so that places in a segment are 32 bits wide.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// What is delivered apart from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What is pushed; everything, unless lanes were [split](crate::Queue::split_lanes).
    Live,
    /// What waited when lanes were split.
    Backlog,
}

/// What a batch is to be, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// It is no larger, unless one record alone is.
    pub max_bytes: u64,
    /// It is due when so much waits in the lane,
    pub batch_bytes: u64,
    /// or when the first record has waited for so long, or when the queue is closed.
    pub batch_age: Duration,
}

/// When the next batch of a lane is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It is.
    Now,
    /// When its first record is old enough, if nothing is pushed meanwhile.
    At(tokio::time::Instant),
    /// Nothing waits in this lane.
    WhenPushed,
}

/// What is stored, all at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that wait.
    pub waiting_records: u64,
    /// What they hold.
    pub waiting_items: u64,
    /// Length of their contents.
    pub waiting_bytes: u64,
    /// Of these, items in the backlog lane.
    pub backlog_items: u64,
    /// What batches in flight hold.
    pub in_flight_items: u64,
    /// What the records that wait or are in flight take of the capacity.
    pub stored_bytes: u64,
    /// See [`Options::capacity`].
    pub capacity: u64,
    /// Age of the oldest record that waits or is in flight.
    pub oldest: Option<Duration>,
    /// All that was ever stored since the queue was opened, with what was found then.
    pub entered_items: u64,
    /// The same for each source, in their order.
    pub sources: Vec<(u16, SourceCounts)>,
}

/// What is stored of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Items that wait.
    pub waiting_items: u64,
    /// Items in flight.
    pub in_flight_items: u64,
    /// All that was ever stored since the queue was opened.
    pub entered_items: u64,
    /// Those of them that could not be read any more: [`Contents::damaged`](crate::Contents).
    pub damaged_items: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Disk,
}

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
    first: u64,
    entries: Vec<Entry>,
    /// Of the first entries, those that are in memory; none of the rest is.
    contents: Vec<Option<Bytes>>,
    bytes: u64,
    /// Entries that are not settled.
    open: usize,
    waiting: usize,
    /// All before are settled.
    settled: usize,
}

/// Where a record's contents are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Memory(Bytes),
    Disk { segment: u64, mark: u32, sequence: u64, offset: u32, length: u32 },
}

#[derive(Debug, Clone, Copy, Default)]
struct LaneState {
    /// No record of the lane waits before this one.
    cursor: u64,
    waiting: u64,
    in_flight: u64,
    bytes: u64,
    items: u64,
    /// The consumer is woken when so much waits.
    wanted: u64,
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
    pub(crate) closed: bool,
    batches: u64,
}

/// A batch as it is handed out.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) id: u64,
    pub(crate) form: u8,
    pub(crate) records: usize,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) first_at: Stamp,
    pub(crate) sources: Sources,
    pub(crate) runs: Vec<Run>,
}

/// When something is due, in the queue's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DueAt {
    Now,
    At(Stamp),
    WhenPushed,
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

    fn lane_of(&self, sequence: u64) -> usize {
        let backlog = self.split.is_some_and(|split| sequence < split);
        if backlog { Lane::Backlog as usize } else { Lane::Live as usize }
    }

    /// Moves the counts of a record from in flight to waiting.
    fn waits(&mut self, sequence: u64, entry: &Entry) {
        let items = u64::from(entry.items);
        let at = self.lane_of(sequence);
        let lane = &mut self.lanes[at];
        lane.in_flight -= 1;
        lane.waiting += 1;
        lane.bytes += u64::from(entry.length);
        lane.items += items;
        lane.cursor = lane.cursor.min(sequence);
        self.in_flight_items -= items;
        let source = self.sources.entry(entry.source).or_default();
        source.in_flight_items -= items;
        source.waiting_items += items;
    }

    /// Moves them from waiting to in flight.
    fn flies(&mut self, sequence: u64, entry: &Entry) {
        let items = u64::from(entry.items);
        let at = self.lane_of(sequence);
        let lane = &mut self.lanes[at];
        lane.in_flight += 1;
        lane.waiting -= 1;
        lane.bytes -= u64::from(entry.length);
        lane.items -= items;
        self.in_flight_items += items;
        let source = self.sources.entry(entry.source).or_default();
        source.waiting_items -= items;
        source.in_flight_items += items;
    }

    /// Where the record stands.
    fn find(&self, sequence: u64) -> Option<(usize, usize)> {
        let at =
            self.segments.partition_point(|segment| segment.first <= sequence).checked_sub(1)?;
        let segment = &self.segments[at];
        let entry = usize::try_from(sequence - segment.first).ok()?;
        (entry < segment.entries.len()).then_some((at, entry))
    }

    /// The first segment that ends after this record, and where in it to look from.
    fn seek(&self, sequence: u64) -> (usize, usize) {
        let at = self.segments.partition_point(|segment| segment.end() <= sequence);
        let from =
            self.segments.get(at).map_or(0, |segment| sequence.saturating_sub(segment.first));
        (at, usize::try_from(from).unwrap_or(usize::MAX))
    }

    /// Calls for each record from this one on that waits, in order, until told to stop.
    fn waiting_from(&self, from: u64, mut each: impl FnMut(u64, &Entry) -> bool) {
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

    /// When the lane's next batch is due. Remembers what is wanted, to wake the consumer then.
    pub(crate) fn due(&mut self, lane: Lane, want: &Want, now: Stamp) -> DueAt {
        let state = &mut self.lanes[lane as usize];
        state.wanted = want.batch_bytes;
        if state.waiting == 0 {
            return DueAt::WhenPushed;
        }
        if self.closed || state.bytes >= want.batch_bytes {
            return DueAt::Now;
        }
        let mut first = None;
        self.waiting_from(self.lanes[lane as usize].cursor, |sequence, entry| {
            first = Some((sequence, entry.at));
            false
        });
        let Some((sequence, at)) = first else { return DueAt::WhenPushed };
        self.lanes[lane as usize].cursor = sequence;
        let due = at.saturating_add(micros(want.batch_age));
        if due <= now { DueAt::Now } else { DueAt::At(due) }
    }

    /// The lane's next batch, due or not; none when nothing waits in it.
    pub(crate) fn take(&mut self, lane: Lane, want: &Want) -> Option<Taken> {
        if self.lanes[lane as usize].waiting == 0 {
            return None;
        }
        let end = match (lane, self.split) {
            (Lane::Backlog, Some(split)) => split,
            (Lane::Backlog, None) | (Lane::Live, _) => u64::MAX,
        };
        let mut taken: Option<Taken> = None;
        let (mut passed, mut passed_bytes, mut after) = (None, 0_u64, 0);
        self.waiting_from(self.lanes[lane as usize].cursor, |sequence, entry| {
            let length = u64::from(entry.length);
            let taken = taken.get_or_insert_with(|| Taken {
                id: self.batches,
                form: entry.form,
                records: 0,
                items: 0,
                bytes: 0,
                first_at: entry.at,
                sources: Sources::default(),
                runs: Vec::new(),
            });
            if sequence >= end || taken.records == MAX_BATCH_RECORDS {
                return false;
            }
            if entry.form != taken.form {
                passed = passed.or(Some(sequence));
                passed_bytes += length;
                return passed_bytes <= want.max_bytes;
            }
            if taken.records > 0 && taken.bytes + length > want.max_bytes {
                return false;
            }
            taken.records += 1;
            taken.items += u64::from(entry.items);
            taken.bytes += length;
            taken.sources.add(entry.source, u64::from(entry.items));
            Run::extend(&mut taken.runs, sequence);
            after = sequence + 1;
            true
        });
        let taken = taken?;
        self.batches += 1;
        self.lanes[lane as usize].cursor = passed.unwrap_or(after);
        for sequence in Run::sequences(&taken.runs) {
            if let Some(entry) = self.turn(sequence, Phase::Waiting, Phase::InFlight) {
                self.flies(sequence, &entry);
            }
        }
        Some(taken)
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

    /// Gives records in flight back to where they were.
    pub(crate) fn release(&mut self, runs: &[Run]) {
        for sequence in Run::sequences(runs) {
            if let Some(entry) = self.turn(sequence, Phase::InFlight, Phase::Waiting) {
                self.waits(sequence, &entry);
            }
        }
    }

    /// Forgets records for good, if they are in this phase, and says what they were.
    fn forget(&mut self, runs: &[Run], phase: Phase) -> Dropped {
        let mut dropped = Dropped::default();
        for run in runs {
            for sequence in run.first..run.first + run.count {
                let Some(entry) = self.turn(sequence, phase, Phase::Settled) else { continue };
                if phase == Phase::Waiting {
                    self.flies(sequence, &entry);
                }
                let items = u64::from(entry.items);
                let lane = self.lane_of(sequence);
                self.lanes[lane].in_flight -= 1;
                self.in_flight_items -= items;
                self.sources.entry(entry.source).or_default().in_flight_items -= items;
                self.stored -= self.cost(entry.length as usize);
                dropped.name(sequence);
                dropped.add(&entry);
            }
            if self.kind == Kind::Disk {
                self.settled.insert(run.first..run.first + run.count);
            }
        }
        self.retire();
        self.merge_lanes();
        dropped
    }

    /// Forgets records in flight.
    pub(crate) fn settle(&mut self, runs: &[Run]) -> Dropped {
        self.forget(runs, Phase::InFlight)
    }

    /// Forgets what waits and is too old.
    pub(crate) fn expire(&mut self, now: Stamp) -> Dropped {
        let Some(max_age) = self.max_age else { return Dropped::default() };
        let Some(limit) = now.checked_sub(micros(max_age)) else { return Dropped::default() };
        self.forget_waiting(|entry| entry.at < limit)
    }

    /// Forgets all that waits.
    pub(crate) fn clear(&mut self) -> Dropped {
        self.forget_waiting(|_| true)
    }

    /// Forgets what waits, until one is to be kept.
    fn forget_waiting(&mut self, doomed: impl Fn(&Entry) -> bool) -> Dropped {
        let mut runs = Vec::new();
        let from = self.lanes.iter().filter(|lane| lane.waiting > 0).map(|lane| lane.cursor).min();
        let Some(from) = from else { return Dropped::default() };
        self.waiting_from(from, |sequence, entry| {
            let doomed = doomed(entry);
            if doomed {
                Run::extend(&mut runs, sequence);
            }
            doomed
        });
        self.forget(&runs, Phase::Waiting)
    }

    /// Gives up segments of which nothing is needed; not the one that is written.
    fn retire(&mut self) {
        let written = self.written;
        let idle = |segment: &Segment| segment.open == 0 && Some(segment.number) != written;
        if !self.segments.iter().any(idle) {
            return;
        }
        let gone = &mut self.gone;
        self.segments.retain(|segment| {
            let idle = segment.open == 0 && Some(segment.number) != written;
            if idle {
                gone.push(segment.number);
            }
            !idle
        });
        if self.kind == Kind::Disk {
            let first = self.segments.front().map_or(self.next, |segment| segment.first);
            self.settled.insert(0..first);
        } else {
            self.gone.clear();
        }
    }

    /// All that waits becomes the backlog.
    pub(crate) fn split_lanes(&mut self) {
        let [live, backlog] = &mut self.lanes;
        backlog.cursor =
            if backlog.waiting > 0 { backlog.cursor.min(live.cursor) } else { live.cursor };
        backlog.waiting += live.waiting;
        backlog.in_flight += live.in_flight;
        backlog.bytes += live.bytes;
        backlog.items += live.items;
        *live = LaneState { cursor: self.next, wanted: live.wanted, ..LaneState::default() };
        self.split = Some(self.next);
        self.merge_lanes();
    }

    /// One lane is enough when nothing is left of the backlog.
    fn merge_lanes(&mut self) {
        let backlog = &self.lanes[Lane::Backlog as usize];
        if self.split.is_some() && backlog.waiting == 0 && backlog.in_flight == 0 {
            self.split = None;
        }
    }

    /// Takes contents out of memory, the oldest first, until the rest fits.
    fn evict(&mut self) {
        while self.cached > self.cache_bytes && self.cache_from < self.next {
            let (at, index) = self.seek(self.cache_from);
            let Some(segment) = self.segments.get_mut(at) else {
                self.cache_from = self.next;
                return;
            };
            if let Some(contents) = segment.contents.get_mut(index).and_then(Option::take) {
                self.cached -= contents.len() + CACHE_OVERHEAD;
            }
            self.cache_from = segment.first + index as u64 + 1;
            if index + 1 >= segment.contents.len() {
                let whole = segment.contents.len() == segment.entries.len();
                if Some(segment.number) != self.written && whole {
                    self.segments[at].contents = Vec::new();
                }
            }
        }
    }

    /// Where the contents of records in flight are. Those that are settled are left out.
    pub(crate) fn places(&self, runs: &[Run]) -> (Vec<u64>, Vec<Place>) {
        let place = |sequence| {
            let (at, index) = self.find(sequence)?;
            let segment = &self.segments[at];
            let entry = &segment.entries[index];
            if entry.phase != Phase::InFlight {
                return None;
            }
            let place = match segment.contents.get(index) {
                Some(Some(bytes)) => Place::Memory(bytes.clone()),
                Some(None) | None => Place::Disk {
                    segment: segment.number,
                    mark: segment.mark,
                    sequence,
                    offset: entry.offset,
                    length: entry.length,
                },
            };
            Some((sequence, place))
        };
        Run::sequences(runs).filter_map(place).unzip()
    }

    /// The records of a batch from this one on, as a batch of its own.
    pub(crate) fn divide(&mut self, runs: &mut Vec<Run>, at: usize) -> Option<Taken> {
        let sequences: Vec<u64> = Run::sequences(runs).collect();
        let (kept, split) = sequences.split_at(at.min(sequences.len()));
        let entries: Vec<(u64, Entry)> = split
            .iter()
            .filter_map(|&sequence| {
                let (at, index) = self.find(sequence)?;
                Some((sequence, self.segments[at].entries[index]))
            })
            .filter(|(_, entry)| entry.phase == Phase::InFlight)
            .collect();
        let (_, first) = entries.first()?;
        let mut taken = Taken {
            id: self.batches,
            form: first.form,
            records: entries.len(),
            items: 0,
            bytes: 0,
            first_at: first.at,
            sources: Sources::default(),
            runs: Vec::new(),
        };
        self.batches += 1;
        for (sequence, entry) in &entries {
            taken.items += u64::from(entry.items);
            taken.bytes += u64::from(entry.length);
            taken.sources.add(entry.source, u64::from(entry.items));
            Run::extend(&mut taken.runs, *sequence);
        }
        runs.clear();
        for &sequence in kept {
            Run::extend(runs, sequence);
        }
        Some(taken)
    }

    pub(crate) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
    }

    pub(crate) fn set_max_age(&mut self, max_age: Option<Duration>) {
        self.max_age = max_age;
    }

    /// Forgets records in flight that cannot be read.
    pub(crate) fn damage(&mut self, runs: &[Run]) -> Dropped {
        let dropped = self.settle(runs);
        for (source, items) in dropped.sources.iter() {
            self.sources.entry(source).or_default().damaged_items += items;
        }
        dropped
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stored == 0 && self.reserved == 0
    }

    /// Nothing waits in this lane, and nothing more comes.
    pub(crate) fn ended(&self, lane: Lane) -> bool {
        let state = &self.lanes[lane as usize];
        self.closed && self.reserved == 0 && state.waiting == 0 && state.in_flight == 0
    }

    pub(crate) fn counts(&self, now: Stamp) -> Counts {
        let [live, backlog] = &self.lanes;
        let oldest = self.segments.iter().find(|segment| segment.open > 0);
        let oldest = oldest.and_then(|segment| segment.entries.get(segment.settled));
        Counts {
            waiting_records: live.waiting + backlog.waiting,
            waiting_items: live.items + backlog.items,
            waiting_bytes: live.bytes + backlog.bytes,
            backlog_items: backlog.items,
            in_flight_items: self.in_flight_items,
            stored_bytes: self.stored,
            capacity: self.capacity,
            oldest: oldest.map(|entry| Duration::from_micros(now.saturating_sub(entry.at))),
            entered_items: self.entered_items,
            sources: self.sources.iter().map(|(&source, &counts)| (source, counts)).collect(),
        }
    }
}

impl Place {
    pub(crate) fn into_memory(self) -> Option<Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::Disk { .. } => None,
        }
    }
}

impl Entry {
    /// A record that nobody needs: only its number counts.
    const SETTLED: Self =
        Self { at: 0, offset: 0, length: 0, items: 0, source: 0, form: 0, phase: Phase::Settled };
}

impl Segment {
    fn new(number: u64, mark: u32, first: u64) -> Self {
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

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn settle_prefix(&mut self) {
        let settled = |entry: &Entry| entry.phase == Phase::Settled;
        while self.entries.get(self.settled).is_some_and(settled) {
            self.settled += 1;
        }
    }
}

impl Dropped {
    fn name(&mut self, number: u64) {
        match self.numbers.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => self.numbers.push(number..number + 1),
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.records += 1;
        self.items += u64::from(entry.items);
        self.bytes += u64::from(entry.length);
        self.sources.add(entry.source, u64::from(entry.items));
    }
}
