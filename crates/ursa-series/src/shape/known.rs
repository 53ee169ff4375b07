//! Which series there are: those that were ever used, and of each family no more than the limit.

use std::collections::HashMap;

/// Series of one output that are remembered. What is over is folded, whatever the limit says.
pub const MAX_SERIES: usize = 200_000;
/// Collections for which a series that does not come is remembered.
pub const KEEP: u32 = 10;
/// Families of which it is remembered whether they are wanted.
const MAX_VERDICTS: usize = 20_000;

/// The series of one output.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of one family.
    pub(super) limit: usize,
    collection: u32,
    series: HashMap<u64, Series>,
    /// How many each family has.
    families: HashMap<u64, usize>,
    /// Series that came in this collection.
    came: usize,
    verdicts: HashMap<u64, Verdict>,
}

#[derive(Debug, Clone, Copy)]
struct Series {
    family: u64,
    /// The collection in which it last came.
    seen: u32,
}

/// What is done with a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// It leaves.
    pub(super) wanted: bool,
    /// Also those of its series that never were anything but 0.
    pub(super) unused: bool,
}

impl Known {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// What is done with the family, judged once.
    pub(super) fn verdict(&mut self, family: u64, judge: impl FnOnce() -> Verdict) -> Verdict {
        if self.verdicts.len() >= MAX_VERDICTS {
            self.verdicts.clear();
        }
        *self.verdicts.entry(family).or_insert_with(judge)
    }

    pub(super) fn forget_verdicts(&mut self) {
        self.verdicts.clear();
    }

    /// Whether a series leaves as itself. One that did goes on to; another does if it is used and there is room.
    pub(super) fn admits(&mut self, family: u64, series: u64, is_used: bool) -> bool {
        if let Some(known) = self.series.get_mut(&series) {
            known.seen = self.collection;
            self.came = self.came.saturating_add(1);
            return true;
        }
        if !is_used || self.series.len() >= MAX_SERIES {
            return false;
        }
        let count = self.families.entry(family).or_default();
        if *count >= self.limit {
            return false;
        }
        *count = count.saturating_add(1);
        self.series.insert(series, Series { family, seen: self.collection });
        self.came = self.came.saturating_add(1);
        true
    }

    /// Forgets what has not come for long.
    pub(super) fn next_collection(&mut self) {
        let now = self.collection;
        if self.came < self.series.len() {
            let families = &mut self.families;
            self.series.retain(|_, series| {
                let is_kept = now.wrapping_sub(series.seen) < KEEP;
                if !is_kept && let Some(count) = families.get_mut(&series.family) {
                    *count = count.saturating_sub(1);
                }
                is_kept
            });
            families.retain(|_, count| *count > 0);
            // A map does not give back its memory by itself.
            if self.series.capacity() / 4 > self.series.len() {
                self.series.shrink_to_fit();
                families.shrink_to_fit();
            }
        }
        self.came = 0;
        self.collection = now.wrapping_add(1);
    }
}
