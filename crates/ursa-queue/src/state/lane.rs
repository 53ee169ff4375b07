//! Lanes: what waits in which, when a batch is due, and handing out and taking back.

use std::time::Duration;

use super::{Entry, Phase, State};
use crate::batch::{Run, Sources};
use crate::clock::{Stamp, micros};

/// No batch has more records, however small they are.
const MAX_BATCH_RECORDS: usize = 16 << 10;

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
    /// When the file says of more what is settled: see [`Options::cursor_lag`](crate::Options).
    WhenRecorded,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneState {
    /// No record of the lane waits before this one.
    pub(super) cursor: u64,
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    pub(super) bytes: u64,
    pub(super) items: u64,
    /// The consumer is woken when so much waits.
    pub(super) wanted: u64,
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
    WhenRecorded,
}

impl State {
    pub(super) fn lane_of(&self, sequence: u64) -> usize {
        let backlog = self.split.is_some_and(|split| sequence < split);
        if backlog { Lane::Backlog as usize } else { Lane::Live as usize }
    }

    /// Moves the counts of a record from in flight to waiting.
    pub(super) fn waits(&mut self, sequence: u64, entry: &Entry) {
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
    pub(super) fn flies(&mut self, sequence: u64, entry: &Entry) {
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

    /// When the lane's next batch is due. Remembers what is wanted, to wake the consumer then.
    pub(crate) fn due(&mut self, lane: Lane, want: &Want, now: Stamp) -> DueAt {
        let state = &mut self.lanes[lane as usize];
        state.wanted = want.batch_bytes;
        if state.waiting == 0 {
            return DueAt::WhenPushed;
        }
        if self.must_be_recorded() {
            return DueAt::WhenRecorded;
        }
        let state = &self.lanes[lane as usize];
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

    /// Gives records in flight back to where they were.
    pub(crate) fn release(&mut self, runs: &[Run]) {
        for sequence in Run::sequences(runs) {
            if let Some(entry) = self.turn(sequence, Phase::InFlight, Phase::Waiting) {
                self.waits(sequence, &entry);
            }
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
    pub(super) fn merge_lanes(&mut self) {
        let backlog = &self.lanes[Lane::Backlog as usize];
        if self.split.is_some() && backlog.waiting == 0 && backlog.in_flight == 0 {
            self.split = None;
        }
    }

    /// Nothing waits in this lane, and nothing more comes.
    pub(crate) fn ended(&self, lane: Lane) -> bool {
        let state = &self.lanes[lane as usize];
        self.closed && self.reserved == 0 && state.waiting == 0 && state.in_flight == 0
    }
}
