//! When a request is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::route::HeaderMatch;

/// When a request is tried again. Envoy: `retry_policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Envoy's words for what is tried again, like `5xx` and `reset`. Envoy: `retry_on`.
    pub on: Vec<String>,
    /// Statuses that are tried again, where `on` has `retriable-status-codes`.
    pub statuses: Vec<u16>,
    /// How often at most. Envoy: `num_retries`.
    pub attempts: u32,
    /// How long each try may take. Unset: as long as the request.
    pub per_try_timeout: Option<Duration>,
    /// How long it waits before. Unset: Envoy's own, 25 ms to 250 ms.
    pub back_off: Option<BackOff>,
    /// How long it waits where an answer says so.
    pub rate_limited: Option<RateLimitedBackOff>,
    /// Only requests with any of these headers. Empty: all.
    pub request_headers: Vec<HeaderMatch>,
    /// Answers with any of these headers are tried again, where `on` has `retriable-headers`.
    pub response_headers: Vec<HeaderMatch>,
    /// Whether another endpoint is looked for than was tried.
    pub omit_previous_hosts: bool,
    /// Endpoints with all tags of any of these sets are passed over; the clusters must have them among their [`super::Cluster::tag_sets`].
    pub omit_tags: Vec<BTreeMap<String, String>>,
    /// Whether endpoints of another priority are looked for, and after how many tries anew.
    pub omit_previous_priorities: Option<u32>,
    /// How often another endpoint is looked for. Unset: once.
    pub host_selection_attempts: Option<i64>,
}

/// How long to wait before a try; it doubles, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// At first.
    pub base: Duration,
    /// At most. Unset: ten times as long.
    pub max: Option<Duration>,
}

/// How long to wait where an answer says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitedBackOff {
    /// The headers that say it; the first that is there counts.
    pub headers: Vec<ResetHeader>,
    /// At most. Unset: Envoy's 300 s.
    pub max: Option<Duration>,
}

/// A header that says when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetHeader {
    /// Its name.
    pub name: String,
    /// Whether it is a point in time (seconds since 1970) rather than a number of seconds.
    pub is_timestamp: bool,
}
