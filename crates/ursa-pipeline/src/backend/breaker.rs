//! A circuit breaker: a backend that fails again and again is left alone for a while.
//!
//! ```text
//! closed ── so many failures in a row ──► open ── after a while ──► half-open ── success ──► closed
//!                                           ▲                           │
//!                                           └───────── failure ─────────┘
//! ```

use tokio::time::Instant;

use crate::export::BreakerPolicy;
use crate::status::{BreakerState, BreakerStatus};

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaker {
    /// Requests are made; so many failed in a row.
    Closed { failures: u32 },
    /// None is made before that time.
    Open { until: Instant },
    /// One is made.
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// After a request that succeeded.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// After a request that failed for the backend's sake.
    pub(super) fn failed(&mut self, policy: BreakerPolicy, now: Instant) {
        let open = Self::Open { until: now + policy.open_for };
        *self = match *self {
            Self::Closed { failures } if failures.saturating_add(1) < policy.failures.max(1) => {
                Self::Closed { failures: failures.saturating_add(1) }
            }
            // What was under way when it opened does not keep it open for longer.
            Self::Open { until } => Self::Open { until },
            Self::Closed { .. } | Self::HalfOpen => open,
        };
    }

    /// Before the one request that may close it.
    pub(super) fn probe(&mut self) {
        if matches!(self, Self::Open { .. }) {
            *self = Self::HalfOpen;
        }
    }

    /// Until when no request is made.
    pub(super) fn until(&self) -> Option<Instant> {
        match *self {
            Self::Open { until } => Some(until),
            Self::Closed { .. } | Self::HalfOpen => None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    pub(super) fn status(&self, now: Instant) -> BreakerStatus {
        let state = match self {
            Self::Closed { .. } => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen => BreakerState::HalfOpen,
        };
        let left = |until: Instant| until.saturating_duration_since(now).as_secs_f64();
        BreakerStatus { state, until_seconds: self.until().map(left) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_opens_closes_and_opens_again() {
        let start = Instant::now();
        let policy = BreakerPolicy { failures: 3, open_for: Duration::from_secs(30) };
        let mut breaker = Breaker::default();
        for failures in 1..3 {
            breaker.failed(policy, start);
            assert_eq!(breaker, Breaker::Closed { failures });
        }
        breaker.succeeded();
        for _ in 0..3 {
            breaker.failed(policy, start);
        }
        let until = start + policy.open_for;
        breaker.failed(policy, start + Duration::from_secs(5));
        assert_eq!(breaker, Breaker::Open { until });
        breaker.probe();
        assert_eq!(breaker.status(until).state, BreakerState::HalfOpen);
        breaker.failed(policy, until);
        assert_eq!(breaker.until(), Some(until + policy.open_for));
        breaker.probe();
        breaker.succeeded();
        assert!(breaker.is_closed());
    }
}
