//! What is compared with what.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// How much more one side may cost than the other.
#[derive(Debug)]
pub(super) struct Comparison {
    /// What it is called.
    pub(super) name: &'static str,
    /// What requests bring, under both.
    pub(super) headers: &'static str,
    /// The one side.
    pub(super) without: &'static Side,
    /// The other.
    pub(super) with: &'static Side,
    /// How much more, in microseconds of one Envoy's CPU.
    pub(super) target: Option<f64>,
}

/// A MeshTrace of one percent.
#[derive(Debug)]
pub(super) struct Side {
    /// `propagators`; none is unset.
    propagators: &'static [&'static str],
    /// Members of baggage that become tags.
    tags: &'static [&'static str],
    /// `baggage`, in JSON.
    baggage: Option<&'static str>,
    /// Headers that the application then receives, or does not.
    pub(super) receives: &'static [(&'static str, bool)],
}

impl Side {
    /// The policy, with its backend.
    pub(super) fn policy(&self, backend: SocketAddr) -> Value {
        let tags: Vec<Value> =
            self.tags.iter().map(|name| json!({"name": name, "baggage": {"name": name}})).collect();
        let mut default = json!({
            "backends": [{"openTelemetry": {"endpoint": backend.to_string()}}],
            "sampling": {"random": 1},
            "tags": tags,
        });
        if !self.propagators.is_empty() {
            default["propagators"] = json!(self.propagators);
        }
        if let Some(baggage) = self.baggage {
            default["baggage"] = baggage.parse().unwrap_or_default();
        }
        json!({
            "type": "MeshTrace", "mesh": "default", "name": "bench",
            "spec": {"targetRef": {"kind": "Mesh"}, "default": default}})
    }
}

const UNSET: Side = Side {
    propagators: &[],
    tags: &[],
    baggage: None,
    receives: &[("traceparent", true), ("b3", false)],
};
const W3C: Side = Side { propagators: &["w3c_tracecontext", "w3c_baggage"], ..UNSET };
const B3: Side = Side {
    propagators: &["w3c_tracecontext", "w3c_baggage", "b3"],
    receives: &[("traceparent", true), ("b3", true)],
    ..UNSET
};
const ALL: Side = Side {
    propagators: &["w3c_tracecontext", "w3c_baggage", "b3", "b3multi", "datadog", "xray", "jaeger"],
    receives: &[
        ("traceparent", true),
        ("b3", true),
        ("x-b3-traceid", true),
        ("x-datadog-trace-id", true),
        ("x-amzn-trace-id", true),
        ("uber-trace-id", true),
    ],
    ..UNSET
};
/// Those of the fact that was measured before.
const FOUR: Side = Side {
    propagators: &["w3c_tracecontext", "b3", "b3multi", "datadog"],
    receives: &[("b3", true), ("x-b3-traceid", true), ("x-datadog-trace-id", true)],
    ..UNSET
};
/// What others send passes, as it does without the module.
const PASSED: Side = Side { receives: &[("b3", true)], ..UNSET };
const PASSED_DATADOG: Side = Side { receives: &[("x-datadog-trace-id", true)], ..UNSET };
const READ: Side = Side {
    tags: &["tenant.id", "plan", "session"],
    receives: &[("baggage", true), ("b3", false)],
    ..UNSET
};
const BAGGAGE: Side = Side { receives: READ.receives, ..UNSET };
const FILTERED: Side = Side {
    baggage: Some(
        r#"{"set": [{"name": "team", "literal": "core"}], "incoming": {"deny": ["session"]}, "outgoing": {"deny": ["session"]}}"#,
    ),
    ..BAGGAGE
};

const B3_CALLER: &str = "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1\r\n";
const DATADOG_CALLER: &str = "x-datadog-trace-id: 11803532876627986230\r\nx-datadog-parent-id: 67667974448284343\r\nx-datadog-sampling-priority: 1\r\nx-datadog-tags: _dd.p.tid=4bf92f3577b34da6,_dd.p.dm=-4\r\n";
const MEMBERS: &str = "baggage: tenant.id=blue,plan=gold,session=7f3c2a\r\n";

/// All of them.
pub(super) const COMPARISONS: [Comparison; 9] = [
    Comparison {
        name: "W3C and baggage, unset and listed",
        headers: MEMBERS,
        without: &BAGGAGE,
        with: &Side { receives: BAGGAGE.receives, ..W3C },
        target: Some(0.0),
    },
    Comparison { name: "W3C and B3", headers: "", without: &UNSET, with: &B3, target: Some(2.0) },
    Comparison {
        name: "W3C and B3, b3 comes in",
        headers: B3_CALLER,
        without: &PASSED,
        with: &B3,
        target: None,
    },
    Comparison {
        name: "W3C, B3 twice, Datadog",
        headers: "",
        without: &UNSET,
        with: &FOUR,
        target: None,
    },
    Comparison { name: "all formats", headers: "", without: &UNSET, with: &ALL, target: Some(5.0) },
    Comparison {
        name: "all formats, Datadog comes in",
        headers: DATADOG_CALLER,
        without: &PASSED_DATADOG,
        with: &ALL,
        target: None,
    },
    Comparison {
        name: "three members as tags",
        headers: MEMBERS,
        without: &BAGGAGE,
        with: &READ,
        target: Some(1.0),
    },
    Comparison {
        name: "three members, one filtered, one set",
        headers: MEMBERS,
        without: &BAGGAGE,
        with: &FILTERED,
        target: None,
    },
    Comparison {
        name: "filtered and all formats",
        headers: MEMBERS,
        without: &BAGGAGE,
        with: &Side { baggage: FILTERED.baggage, ..ALL },
        target: None,
    },
];
