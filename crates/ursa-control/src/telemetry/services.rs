//! What each service did in the last minute: rate, errors, and quantiles of its server spans.
//!
//! A span counts in the second in which it arrived, not the one its clock names: clocks differ, and
//! what is shown as "now" should not depend on the worst of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::histogram::{Histogram, Sum};

/// How many seconds statistics cover: the longest window that can be asked for, and
/// [`ServiceStatistics::history`]. With [`MAX_SERVICES`] it bounds their memory: a busy service takes some 30 KB,
/// and one whose every second has spans of all durations 260 KB.
pub const HISTORY_SECONDS: u64 = 60;
/// So many services have statistics. Spans of further ones are kept, but counted for no service.
pub const MAX_SERVICES: usize = 256;
/// How long a service is listed after its last span, in seconds.
pub const LISTED_SECONDS: u64 = 300;
/// History is of whole seconds, so the running one comes on top.
const REMEMBERED_SECONDS: u64 = HISTORY_SECONDS + 1;

/// One span, as far as statistics care.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation<'a> {
    pub(super) service: &'a Arc<str>,
    /// Server spans are requests; the others only show that the service is there.
    pub(super) server: bool,
    pub(super) error: bool,
    pub(super) duration: Duration,
}

/// A service over the window asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatistics {
    /// `service.name`.
    pub name: String,
    /// Server spans a second.
    pub requests_per_second: f64,
    /// Server spans a second that failed.
    pub errors_per_second: f64,
    /// Failed share of the server spans, 0 to 1; 0 without requests.
    pub error_ratio: f64,
    /// Median duration of the server spans in milliseconds; null without requests. So are the next two.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Requests and errors of each of the last [`HISTORY_SECONDS`] whole seconds, oldest first.
    pub history: Vec<[u32; 2]>,
}

/// What happened in one second of one service.
#[derive(Debug, Default)]
struct Second {
    at: u64,
    requests: u32,
    errors: u32,
    durations: Histogram,
}

#[derive(Debug, Default)]
struct Service {
    /// Seconds in which something happened, oldest first, none older than [`REMEMBERED_SECONDS`].
    seconds: VecDeque<Second>,
    last_seen: u64,
}

/// Statistics of all services. Time is a count of seconds that never goes back.
#[derive(Debug, Default)]
pub(super) struct Services {
    services: BTreeMap<Arc<str>, Service>,
    /// When the first span came: rates of a young window are not diluted by the time before.
    first: Option<u64>,
    /// Spans of each of the last seconds, whatever the service.
    spans: VecDeque<(u64, u64)>,
}

impl Services {
    pub(super) fn record(&mut self, now: u64, observation: Observation<'_>) {
        self.first.get_or_insert(now);
        match self.spans.back_mut() {
            Some((at, count)) if *at == now => *count += 1,
            _ => self.spans.push_back((now, 1)),
        }
        while self.spans.front().is_some_and(|(at, _)| at + REMEMBERED_SECONDS <= now) {
            self.spans.pop_front();
        }
        if let Some(service) = self.service(now, observation.service) {
            service.record(now, &observation);
        }
    }

    fn service(&mut self, now: u64, name: &Arc<str>) -> Option<&mut Service> {
        if !self.services.contains_key(name) {
            if self.services.len() >= MAX_SERVICES {
                self.forget_the_gone(now);
            }
            if self.services.len() >= MAX_SERVICES {
                return None;
            }
        }
        Some(self.services.entry(Arc::clone(name)).or_default())
    }

    fn forget_the_gone(&mut self, now: u64) {
        self.services.retain(|_, service| service.last_seen + LISTED_SECONDS > now);
    }

    /// Every service seen in the last [`LISTED_SECONDS`], by name, over the last `window` seconds.
    pub(super) fn statistics(&mut self, now: u64, window: u64) -> Vec<ServiceStatistics> {
        self.forget_the_gone(now);
        let seconds = self.seconds_covered(now, window);
        let from = (now + 1).saturating_sub(window);
        self.services
            .iter()
            .map(|(name, service)| service.statistics(name, now, from, seconds))
            .collect()
    }

    /// Spans a second over the last `window` seconds.
    pub(super) fn spans_per_second(&self, now: u64, window: u64) -> f64 {
        let from = (now + 1).saturating_sub(window);
        let spans: u64 =
            self.spans.iter().rev().take_while(|(at, _)| *at >= from).map(|(_, count)| count).sum();
        rounded(spans as f64 / self.seconds_covered(now, window))
    }

    fn seconds_covered(&self, now: u64, window: u64) -> f64 {
        let since_first = self.first.map_or(1, |first| now.saturating_sub(first) + 1);
        window.min(since_first).max(1) as f64
    }
}

impl Service {
    fn record(&mut self, now: u64, observation: &Observation<'_>) {
        self.last_seen = now;
        if !observation.server {
            return;
        }
        while self.seconds.front().is_some_and(|second| second.at + REMEMBERED_SECONDS <= now) {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|second| second.at != now) {
            self.seconds.push_back(Second { at: now, ..Second::default() });
        }
        if let Some(second) = self.seconds.back_mut() {
            second.requests = second.requests.saturating_add(1);
            second.errors = second.errors.saturating_add(u32::from(observation.error));
            second.durations.record(observation.duration);
        }
    }

    fn statistics(&self, name: &Arc<str>, now: u64, from: u64, seconds: f64) -> ServiceStatistics {
        let window = || self.seconds.iter().rev().take_while(|second| second.at >= from);
        let requests: u64 = window().map(|second| u64::from(second.requests)).sum();
        let errors: u64 = window().map(|second| u64::from(second.errors)).sum();
        let durations = Sum::of(window().map(|second| &second.durations));
        ServiceStatistics {
            name: name.to_string(),
            requests_per_second: rounded(requests as f64 / seconds),
            errors_per_second: rounded(errors as f64 / seconds),
            error_ratio: if requests == 0 { 0.0 } else { rounded(errors as f64 / requests as f64) },
            p50: durations.quantile(0.50).map(rounded),
            p95: durations.quantile(0.95).map(rounded),
            p99: durations.quantile(0.99).map(rounded),
            history: self.history(now),
        }
    }

    /// The running second is left out: it would look like a drop.
    fn history(&self, now: u64) -> Vec<[u32; 2]> {
        let mut seconds =
            self.seconds.iter().skip_while(|second| second.at + HISTORY_SECONDS < now).peekable();
        (now.saturating_sub(HISTORY_SECONDS)..now)
            .map(|at| match seconds.next_if(|second| second.at == at) {
                Some(second) => [second.requests, second.errors],
                None => [0, 0],
            })
            .collect()
    }
}

/// Four decimals are more than the data holds and keep the JSON short.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values have few binary digits")]
mod tests {
    use super::*;

    fn record(services: &mut Services, now: u64, name: &str, millis: u64, error: bool) {
        let service = Arc::from(name);
        let observation = Observation {
            service: &service,
            server: true,
            error,
            duration: Duration::from_millis(millis),
        };
        services.record(now, observation);
    }

    #[test]
    fn rates_errors_and_quantiles_are_of_the_window() {
        let mut services = Services::default();
        for second in 100..200 {
            record(&mut services, second, "cart", 10, false);
            record(&mut services, second, "cart", 500, second % 4 == 0);
        }
        let [cart] = &services.statistics(199, 60)[..] else { panic!("one service") };
        assert_eq!(
            (cart.requests_per_second, cart.errors_per_second, cart.error_ratio),
            (2.0, 0.25, 0.125)
        );
        assert!(
            (cart.p50.unwrap() - 10.0).abs() < 0.4 && (cart.p99.unwrap() - 500.0).abs() < 16.0,
            "{cart:?}"
        );
        assert_eq!(services.spans_per_second(199, 10), 2.0);
    }

    #[test]
    fn a_young_window_is_not_diluted() {
        let mut services = Services::default();
        record(&mut services, 7, "cart", 1, false);
        record(&mut services, 8, "cart", 1, false);
        assert_eq!(services.statistics(8, 60)[0].requests_per_second, 1.0);
    }

    #[test]
    fn history_is_of_whole_seconds() {
        let mut services = Services::default();
        for second in [10, 12, 12, 70] {
            record(&mut services, second, "cart", 1, second == 12);
        }
        let history = &services.statistics(71, 60)[0].history;
        assert_eq!(history.len(), 60);
        assert_eq!((history[1], history[59]), ([2, 2], [1, 0]), "11 s to 70 s");
    }

    #[test]
    fn services_that_are_gone_make_room() {
        let mut services = Services::default();
        for index in 0..=MAX_SERVICES {
            record(&mut services, 0, &format!("s{index}"), 1, false);
        }
        assert_eq!(services.statistics(1, 60).len(), MAX_SERVICES);
        record(&mut services, LISTED_SECONDS, "new", 1, false);
        let names: Vec<_> =
            services.statistics(LISTED_SECONDS, 60).into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["new"]);
    }
}
