//! What is stored, for people and metrics.

use std::time::Duration;

use super::State;
use crate::clock::Stamp;

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
    /// See [`Options::capacity`](crate::Options::capacity).
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

impl State {
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
