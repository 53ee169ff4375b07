//! How long to wait before the next attempt.

use std::time::Duration;

use ursa_model::backend::DeliveryOptions;

/// Longest wait that a backend may ask for.
const MAX_ASKED: Duration = Duration::from_hours(1);
/// What is added at most to a wait that was asked for, so that not all senders return at once.
const ASKED_JITTER: Duration = Duration::from_secs(1);

/// When a failing backend is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreakerPolicy {
    /// After how many failures in a row; at least 1.
    pub(crate) failures: u32,
    /// For how long.
    pub(crate) open_for: Duration,
}

impl BreakerPolicy {
    pub(super) fn of(options: &DeliveryOptions) -> Self {
        let breaker = options.circuit_breaker.clone().unwrap_or_default();
        Self { failures: breaker.failures(), open_for: breaker.open_for().0 }
    }
}

/// Pauses that double, with jitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    /// Attempts after the first; none: no limit.
    retries: Option<u32>,
}

impl Backoff {
    pub(super) fn of(options: &DeliveryOptions) -> Self {
        let policy = options.retry_policy.clone().unwrap_or_default();
        let initial = policy.initial_backoff().0;
        // A pause is no longer than that of the breaker, which would open soon.
        let max = policy.max_backoff().0.min(BreakerPolicy::of(options).open_for.max(initial));
        Self { initial, max, retries: policy.max_retries }
    }

    /// The pause after `failures` failed attempts in a row, or none when there have been enough.
    /// What the backend `asked` for is the least; `jitter` is in 0 to 1.
    pub(crate) fn pause(
        &self,
        failures: u32,
        asked: Option<Duration>,
        jitter: f64,
    ) -> Option<Duration> {
        if self.retries.is_some_and(|retries| failures > retries) {
            return None;
        }
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let own = self.initial.saturating_mul(doubled).min(self.max).mul_f64(0.5 + jitter / 2.0);
        Some(own.max(Self::asked(asked, jitter)))
    }

    /// The pause that the backend asked for, within bounds; `jitter` is in 0 to 1.
    pub(crate) fn asked(asked: Option<Duration>, jitter: f64) -> Duration {
        let asked = asked.unwrap_or_default().min(MAX_ASKED);
        asked + (asked / 10).min(ASKED_JITTER).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(retries: Option<u32>) -> Backoff {
        Backoff { initial: SECOND, max: 30 * SECOND, retries }
    }

    #[test]
    fn pauses_double_up_to_the_longest_with_jitter_below() {
        let backoff = backoff(None);
        let pauses = |jitter| {
            [1, 2, 3, 5, 6, 99].map(|n| backoff.pause(n, None, jitter).unwrap().as_millis())
        };
        assert_eq!(pauses(1.0), [1000, 2000, 4000, 16_000, 30_000, 30_000]);
        assert_eq!(pauses(0.0), [500, 1000, 2000, 8000, 15_000, 15_000]);
    }

    #[test]
    fn what_the_backend_asks_for_is_the_least() {
        let asked = |seconds, jitter| backoff(None).pause(1, Some(seconds * SECOND), jitter);
        assert_eq!(asked(7, 0.0), Some(7 * SECOND));
        assert_eq!(asked(100, 1.0), Some(101 * SECOND));
        assert_eq!(asked(1_000_000, 0.0), Some(MAX_ASKED));
        // A backend that asks for no time at all is not asked again and again.
        assert_eq!(asked(0, 1.0), Some(SECOND));
    }

    #[test]
    fn retries_end() {
        assert!(backoff(Some(2)).pause(2, None, 0.5).is_some());
        assert_eq!(backoff(Some(2)).pause(3, None, 0.5), None);
        assert_eq!(backoff(Some(0)).pause(1, Some(SECOND), 0.5), None);
    }
}
