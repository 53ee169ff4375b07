//! A bound on the bytes of all requests in hand.
//!
//! Room is never waited for: senders that trickle could otherwise keep the others out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that requests may hold together. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// No room.
#[derive(Debug)]
pub(super) struct NoRoom;

/// Bytes held by one request, given back on drop.
#[derive(Debug)]
pub(super) struct Held {
    memory: Memory,
    bytes: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: Arc::default(), limit }
    }

    pub(super) fn hold(&self) -> Held {
        Held { memory: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// How many bytes more there is room for now.
    pub(super) fn room(&self) -> usize {
        self.memory.limit.saturating_sub(self.memory.used.load(Ordering::Relaxed))
    }

    /// How many bytes more there would be room for if no other request held any. What needs more has
    /// no use in being sent again.
    pub(super) fn most(&self) -> usize {
        self.memory.limit.saturating_sub(self.bytes)
    }

    /// Holds `bytes` more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let limit = self.memory.limit;
        let grown = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        let order = Ordering::Relaxed;
        self.memory.used.fetch_update(order, order, grown).map_err(|_| NoRoom)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_given_back() {
        let memory = Memory::new(10);
        let mut one = memory.hold();
        one.grow(6).unwrap();
        let mut two = memory.hold();
        two.grow(5).unwrap_err();
        assert_eq!((two.room(), two.most()), (4, 10));
        two.grow(4).unwrap();
        two.grow(usize::MAX).unwrap_err();
        assert_eq!((two.room(), two.most()), (0, 6));
        drop(one);
        two.grow(6).unwrap();
    }
}
