//! How much telemetry a proxy makes, and would make.
//!
//! From the requests that its Envoy counts, listener by listener, over the last seconds, and from what the configuration says of them. Spans: the
//! share of requests that no rule is about, of which Envoy traces `random`, bounded by `overall`. Where spans come already, what comes is taken
//! as it is and changes as the share does, so that callers' decisions, which a proxy follows, count as they do now; while the share stays, or no
//! request comes, it stays as it is. Log lines: each request, by
//! `sample`; where a filter decides, that is the most there can be.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use ursa_envoy::proxy::{HttpListener, Listener, ListenerKind, LogFilter, ProxyConfig, stat_name};
use ursa_model::percent::Percent;

/// What an Envoy has counted since it started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counts {
    requests: BTreeMap<String, f64>,
    spans: Option<f64>,
}

/// How many a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rates {
    /// Requests by the name under which the listener counts.
    requests: BTreeMap<String, f64>,
    /// Spans that Envoy handed over.
    spans: f64,
}

impl Rates {
    /// Of two answers of an agent that lie `seconds` apart. `None` when Envoy did not say, or was another in between.
    pub(crate) fn between(first: &Value, second: &Value, seconds: f64) -> Option<Self> {
        let (first, second) = (Counts::of(first)?, Counts::of(second)?);
        let rate =
            |old: f64, new: f64| (new >= old && seconds > 0.0).then(|| (new - old) / seconds);
        let mut rates = Self::default();
        for (name, new) in second.requests {
            let old = first.requests.get(&name).copied().unwrap_or_default();
            rates.requests.insert(name, rate(old, new)?);
        }
        rates.spans = rate(first.spans.unwrap_or_default(), second.spans.unwrap_or_default())?;
        Some(rates)
    }

    fn of(&self, listener: &HttpListener) -> f64 {
        self.requests.get(&stat_name(&listener.stat_prefix)).copied().unwrap_or_default()
    }
}

impl Counts {
    fn of(answer: &Value) -> Option<Self> {
        let envoy = &answer["envoy"];
        let requests = envoy["requests"].as_object()?.iter();
        let requests = requests.filter_map(|(name, count)| Some((name.clone(), count.as_f64()?)));
        Some(Self { requests: requests.collect(), spans: envoy["spansSent"].as_f64() })
    }
}

/// What there is and would be, a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Estimate {
    /// Requests of all listeners that speak HTTP.
    requests: f64,
    /// Spans.
    spans: Step,
    /// Whether requests that `sampling.rules` decide about are counted with the others: no Envoy says how many they are.
    rules_not_told_apart: bool,
    /// Lines and records of access logs.
    log_lines: Step,
}

/// From one rate to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    before: f64,
    after: f64,
    /// Whether a filter lets through as many or fewer.
    at_most: bool,
}

impl Estimate {
    pub(super) fn new(
        before: Option<&ProxyConfig>,
        after: Option<&ProxyConfig>,
        rates: &Rates,
        rules_not_told_apart: bool,
    ) -> Self {
        let (expected, planned) = (spans(before, rates), spans(after, rates));
        let requests: f64 = rates.requests.values().sum();
        let as_before = shares(before) == shares(after);
        // Without a request nothing says how many there would be; the spans are of those before.
        let idle = requests <= 0.0 && shares(after).values().any(Option::is_some);
        let then = if as_before || idle {
            rates.spans
        } else if expected > 0.0 && rates.spans > 0.0 {
            // A request is one span at most; what a few spans of a small share say is rough.
            (rates.spans * planned / expected).min(requests)
        } else {
            planned
        };
        let spans = Step { before: rates.spans, after: then, at_most: false };
        let ((before, least), (after, most)) = (lines(before, rates), lines(after, rates));
        let log_lines = Step { before, after, at_most: least || most };
        Self { requests, spans, rules_not_told_apart, log_lines }
    }
}

fn http(proxy: Option<&ProxyConfig>) -> impl Iterator<Item = (&Listener, &HttpListener)> {
    let listeners = proxy.into_iter().flat_map(|proxy| &proxy.listeners);
    listeners.filter_map(|listener| match &listener.kind {
        ListenerKind::Http(http) => Some((listener, http)),
        ListenerKind::Tcp(_) => None,
    })
}

/// Spans of requests that begin a trace.
fn spans(proxy: Option<&ProxyConfig>, rates: &Rates) -> f64 {
    http(proxy).map(|(_, it)| rates.of(it) * share(it).map_or(0.0, fraction)).sum()
}

/// The share of a listener's requests that is traced, of those that no rule is about; `None` where nothing is.
fn share(listener: &HttpListener) -> Option<Percent> {
    let all = listener.routes.routes.last().filter(|_| listener.tracing.is_some());
    all.map(|route| route.tracing.sampling.random.min(route.tracing.sampling.overall))
}

/// The share of each listener, by what it counts as.
fn shares(proxy: Option<&ProxyConfig>) -> BTreeMap<&str, Option<Percent>> {
    http(proxy).map(|(_, listener)| (listener.stat_prefix.as_str(), share(listener))).collect()
}

/// Lines, and whether a filter lets through fewer.
fn lines(proxy: Option<&ProxyConfig>, rates: &Rates) -> (f64, bool) {
    let mut lines = (0.0, false);
    for (listener, http) in http(proxy) {
        for log in &listener.access_logs {
            lines.0 += rates.of(http) * fraction(log.filter.sample);
            let sample = log.filter.sample;
            lines.1 |= log.filter != LogFilter { sample, ..LogFilter::default() };
        }
    }
    lines
}

fn fraction(percent: Percent) -> f64 {
    f64::from(percent.ten_thousandths()) / 10_000.0
}
