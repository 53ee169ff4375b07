//! Where contents are: in memory, or on disk only.

use bytes::Bytes;

use super::{Phase, State};
use crate::batch::Run;

/// What a cached record takes besides its contents.
pub(super) const CACHE_OVERHEAD: usize = 64;

/// Where a record's contents are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Memory(Bytes),
    Disk { segment: u64, mark: u32, sequence: u64, offset: u32, length: u32 },
}

impl State {
    /// Takes contents out of memory, the oldest first, until the rest fits.
    pub(super) fn evict(&mut self) {
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
}

impl Place {
    pub(crate) fn into_memory(self) -> Option<Bytes> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::Disk { .. } => None,
        }
    }
}
