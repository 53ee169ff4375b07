//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from `first` to `most`. Half of each is chance, so that many agents that lost
/// the same control plane do not come back at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait. `chance` is between 0 and 1.
    pub(crate) fn wait(&mut self, chance: f64) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }

    /// It worked for so long. From the longest wait on, the next failure is the first one again;
    /// what works only for a moment, again and again, is waited for as if it did not.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= self.most {
            self.next = self.first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_start_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..6).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.wait(0.0), Duration::from_millis(500));
        backoff.lasted(Duration::from_millis(999));
        assert_eq!(backoff.wait(1.0), Duration::from_secs(1));
        backoff.lasted(Duration::from_secs(1));
        assert_eq!(backoff.wait(0.5), Duration::from_millis(75));
    }
}
