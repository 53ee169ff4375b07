//! How far the file that says what is settled lags behind.

use super::State;
use crate::ranges::Ranges;

/// What is to be written to the file.
#[derive(Debug)]
pub(crate) struct Unrecorded<'a> {
    pub(crate) settled: &'a Ranges,
    /// To say when it is [written](State::recorded).
    pub(crate) until: u64,
    /// There is anything that the file does not say.
    pub(crate) any: bool,
}

impl State {
    /// What the file is to say.
    pub(crate) fn unrecorded(&self) -> Unrecorded<'_> {
        let any = self.settled_bytes > self.recorded_bytes;
        Unrecorded { settled: &self.settled, until: self.settled_bytes, any }
    }

    /// The file says so, or cannot be written: then nobody waits for it. Says whether somebody was
    /// kept waiting.
    pub(crate) fn recorded(&mut self, until: u64) -> bool {
        let waited = self.must_be_recorded();
        self.recorded_bytes = self.recorded_bytes.max(until);
        waited
    }

    /// Nothing is handed out before more is in the file.
    pub(super) fn must_be_recorded(&self) -> bool {
        self.behind() >= self.cursor_lag.max(1)
    }

    /// It is time to write the file, whatever else is being written.
    pub(crate) fn is_far_behind(&self) -> bool {
        self.behind() >= (self.cursor_lag / 2).max(1)
    }

    fn behind(&self) -> u64 {
        self.settled_bytes - self.recorded_bytes
    }
}
