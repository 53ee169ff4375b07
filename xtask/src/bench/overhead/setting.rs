//! Under which policies requests are served, and what is compared with what.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// The kinds of policies that come and go, and their names in the API.
pub(super) const KINDS: [(&str, &str); 3] = [
    ("MeshTrace", "meshtraces"),
    ("MeshAccessLog", "meshaccesslogs"),
    ("MeshMetric", "meshmetrics"),
];

/// How often metrics are collected, in seconds. A round with them takes as long, so that one collection is in it.
pub(super) const COLLECTION: f64 = 15.0;

/// Where telemetry goes, by signal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backends {
    pub(super) spans: SocketAddr,
    pub(super) records: SocketAddr,
    pub(super) metrics: SocketAddr,
}

/// Under which policies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Setting {
    /// None.
    Plain,
    /// Spans of this share of the requests (percent), and log records of what fails.
    Observed(f64),
    /// One percent of spans, the same log records, and metrics of the profile Basic.
    Watched,
    /// Spans and log records of all requests, with twenty resource attributes.
    Described,
}

impl Setting {
    /// How many spans a request has, on the average.
    pub(super) fn spans(self) -> f64 {
        match self {
            Self::Plain => 0.0,
            Self::Observed(percent) => percent / 100.0,
            Self::Watched => 0.01,
            Self::Described => 1.0,
        }
    }

    /// Its policies, by kind.
    pub(super) fn policies(self, backends: &Backends) -> Vec<(&'static str, Value)> {
        let Backends { spans, records, metrics } = backends;
        let mut attributes = serde_json::Map::new();
        if self == Self::Described {
            attributes = (1..=20)
                .map(|n| (format!("shop.fact.{n}"), json!(format!("some value, number {n}"))))
                .collect();
        }
        if self == Self::Plain {
            return Vec::new();
        }
        let trace = json!({
            "type": "MeshTrace", "mesh": "default", "name": "bench",
            "spec": {"targetRef": {"kind": "Mesh"}, "default": {
                "backends": [{"openTelemetry": {"endpoint": spans.to_string()}}],
                "sampling": {"random": 100.0 * self.spans()},
                "resourceAttributes": attributes}}});
        let log = json!({
            "type": "MeshAccessLog", "mesh": "default", "name": "bench",
            "spec": {"targetRef": {"kind": "Mesh"}, "rules": [{"default": {
                "backends": [{
                    "openTelemetry": {"endpoint": records.to_string()},
                    "filter": {"status": {"from": 500}}}]}}]}});
        let mut policies = vec![("MeshTrace", trace), ("MeshAccessLog", log)];
        if self == Self::Watched {
            let metric = json!({
                "type": "MeshMetric", "mesh": "default", "name": "bench",
                "spec": {"targetRef": {"kind": "Mesh"}, "default": {
                    "sidecar": {"profiles": {"appendProfiles": [{"name": "Basic"}]}},
                    "backends": [{
                        "type": "OpenTelemetry",
                        "openTelemetry": {
                            "endpoint": metrics.to_string(),
                            "refreshInterval": format!("{COLLECTION}s")}}]}}});
            policies.push(("MeshMetric", metric));
        }
        policies
    }
}

/// Two settings, and how much more the one may cost than the other.
#[derive(Debug)]
pub(super) struct Comparison {
    /// What it is called.
    pub(super) name: &'static str,
    /// The one that the other is compared with.
    pub(super) without: Setting,
    /// The other.
    pub(super) with: Setting,
    /// By how much more of Envoy's and the agent's CPU, in percent.
    pub(super) target: Option<f64>,
}

impl Comparison {
    /// How long each side has to be measured at least, in seconds.
    pub(super) fn least(&self) -> f64 {
        if self.with == Setting::Watched { COLLECTION } else { 0.0 }
    }

    /// Whether both sides have policies.
    pub(super) fn is_with_policies(&self) -> bool {
        self.without != Setting::Plain
    }
}

/// All of them.
pub(super) const COMPARISONS: [Comparison; 6] = [
    Comparison {
        name: "nothing, twice",
        without: Setting::Plain,
        with: Setting::Plain,
        target: None,
    },
    Comparison {
        name: "1 % of spans",
        without: Setting::Plain,
        with: Setting::Observed(1.0),
        target: None,
    },
    Comparison {
        name: "the same and metrics",
        without: Setting::Plain,
        with: Setting::Watched,
        target: Some(5.0),
    },
    Comparison {
        name: "10 % of spans",
        without: Setting::Plain,
        with: Setting::Observed(10.0),
        target: Some(8.0),
    },
    Comparison {
        name: "100 % of spans",
        without: Setting::Plain,
        with: Setting::Observed(100.0),
        target: Some(40.0),
    },
    Comparison {
        name: "20 resource attributes",
        without: Setting::Observed(100.0),
        with: Setting::Described,
        target: Some(1.0),
    },
];
