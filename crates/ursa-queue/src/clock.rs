//! The queue's own time: what records are stamped with.
//!
//! Microseconds that never go backward, in the order of the records. Within a process they follow the
//! monotonic clock; a jump of the wall clock does nothing. Across a restart they go on from the
//! newest stamp by what the wall clock says has passed meanwhile, but by no less than nothing and no
//! more than half of the maximum age: whatever the wall clock says, what was younger than that half
//! does not expire at the start.

use std::time::Duration;

use tokio::time::Instant;

/// Microseconds of the queue's time.
pub(crate) type Stamp = u64;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// What it is at `base`.
    epoch: Instant,
    base: Stamp,
}

impl Clock {
    /// Starts now at `base`.
    pub(crate) fn starting_at(base: Stamp) -> Self {
        Self { epoch: Instant::now(), base }
    }

    /// Goes on after a restart: `newest` is the last stamp known, `wall_then` the wall clock's time
    /// when it was made, `wall_now` that of now (microseconds since 1970).
    pub(crate) fn resume(
        newest: Stamp,
        wall_then: u64,
        wall_now: u64,
        max_age: Option<Duration>,
    ) -> Self {
        let bound = max_age.map_or(u64::MAX, |age| micros(age) / 2);
        let gap = wall_now.saturating_sub(wall_then).min(bound);
        Self::starting_at(newest.saturating_add(gap))
    }

    pub(crate) fn now(&self) -> Stamp {
        self.at(Instant::now())
    }

    pub(crate) fn at(&self, instant: Instant) -> Stamp {
        self.base.saturating_add(micros(instant.saturating_duration_since(self.epoch)))
    }

    /// When it was, or will be, `stamp`. What lies before all that the clock can tell is its start.
    pub(crate) fn instant(&self, stamp: Stamp) -> Instant {
        let instant = match stamp.checked_sub(self.base) {
            Some(after) => self.epoch.checked_add(Duration::from_micros(after)),
            None => self.epoch.checked_sub(Duration::from_micros(self.base - stamp)),
        };
        instant.unwrap_or(self.epoch)
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_counts_across_a_restart_and_within_bounds() {
        let hour = Some(Duration::from_hours(1));
        for (wall_then, wall_now, max_age, passed) in [
            (1000, 1500, None, 500),
            (1000, 1500, hour, 500),
            (1000, 200, hour, 0),
            (1000, u64::MAX, hour, 1_800_000_000),
        ] {
            let clock = Clock::resume(70, wall_then, wall_now, max_age);
            assert_eq!(clock.base, 70 + passed);
        }
    }

    #[test]
    fn stamps_and_instants_are_the_same_times() {
        let clock = Clock::starting_at(1_000_000);
        for stamp in [1, 999_999, 1_000_000, 5_000_000] {
            assert_eq!(clock.at(clock.instant(stamp)), stamp.max(1_000_000));
        }
        assert!(clock.instant(1) < clock.epoch);
    }
}
