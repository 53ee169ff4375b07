//! How often one proxy may ask: a flood costs its sender more than us.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ursa_model::ProxyId;

/// Proxies that are remembered; of more, those are forgotten that may ask as often as any.
const MAX_REMEMBERED: usize = 16_384;

/// A bucket of calls for each proxy.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Calls at once.
    burst: u32,
    /// After which time there is one more.
    every: Duration,
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    /// When each bucket will be full again.
    full: BTreeMap<ProxyId, Instant>,
    /// When those that are full were last forgotten.
    forgotten: Option<Instant>,
}

impl Limit {
    pub(crate) fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every, buckets: Mutex::default() }
    }

    /// Whether one more call of a proxy is taken.
    pub(crate) fn take(&self, id: &ProxyId, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Buckets { full, forgotten } = &mut *buckets;
        if full.len() >= MAX_REMEMBERED && !full.contains_key(id) {
            if forgotten.is_none_or(|at| now.duration_since(at) >= self.every) {
                full.retain(|_, at| *at > now);
                *forgotten = Some(now);
            }
            if full.len() >= MAX_REMEMBERED {
                return false;
            }
        }
        let at = full.get(id).copied().unwrap_or(now).max(now) + self.every;
        let room = self.every * self.burst;
        if at.duration_since(now) > room {
            return false;
        }
        full.insert(id.clone(), at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_proxy_is_cut_off_and_others_are_served() {
        let limit = Limit::new(3, Duration::from_secs(2));
        let (one, other) = (ProxyId::new("default", "one"), ProxyId::new("default", "other"));
        let now = Instant::now();
        let taken = (0..100).filter(|_| limit.take(&one, now)).count();
        assert_eq!(taken, 3);
        assert!(limit.take(&other, now));
        let later = now + Duration::from_secs(2);
        assert!(limit.take(&one, later));
        assert!(!limit.take(&one, later));
        let much_later = now + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| limit.take(&one, much_later)).count(), 3);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let limit = Limit::new(1, Duration::from_secs(1));
        let now = Instant::now();
        let id = |n: usize| ProxyId::new("default", format!("p{n}"));
        let taken = (0..2 * MAX_REMEMBERED).filter(|n| limit.take(&id(*n), now)).count();
        assert_eq!(taken, MAX_REMEMBERED);
        assert!(limit.take(&id(2 * MAX_REMEMBERED), now + Duration::from_secs(2)));
    }
}
