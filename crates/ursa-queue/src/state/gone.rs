//! What leaves: settled, too old, cleared or damaged records, and segments that nobody needs.

use super::{Entry, Kind, Phase, Segment, State};
use crate::batch::{Dropped, Run};
use crate::clock::{Stamp, micros};

impl State {
    /// Forgets records in flight.
    pub(crate) fn settle(&mut self, runs: &[Run]) -> Dropped {
        self.forget(runs, Phase::InFlight)
    }

    /// Forgets records in flight that cannot be read.
    pub(crate) fn damage(&mut self, runs: &[Run]) -> Dropped {
        let dropped = self.settle(runs);
        for (source, items) in dropped.sources.iter() {
            self.sources.entry(source).or_default().damaged_items += items;
        }
        dropped
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
                let cost = self.cost(entry.length as usize);
                self.stored -= cost;
                if self.kind == Kind::Disk {
                    self.settled_bytes += cost;
                }
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

    /// Gives up segments of which nothing is needed; not the one that is written.
    pub(super) fn retire(&mut self) {
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
