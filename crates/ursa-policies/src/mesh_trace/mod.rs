//! MeshTrace: which requests are traced, what is written on their spans, and where the spans go.
//!
//! Envoy has one tracer per listener, so there is one backend per proxy. Spans go from Envoy to the agent beside it whatever the backend is; the
//! tracer therefore never changes, and backends and resource attributes are the agent's business (`pipeline.traces`). Sampling and tags are put on
//! routes, so that changing them drains no connection; only switching tracing on or off changes listeners.
//!
//! A policy that targets a MeshHTTPRoute says so of the requests that it takes; the tracer is its proxy's, see `routes`.
//!
//! TCP listeners are left alone: they have no requests.

mod apply;
mod baggage;
mod decisions;
mod delivery;
mod fallback;
mod in_metrics;
mod propagation;
mod routes;
pub mod schema;
mod spellings;
mod tags;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::{Value as Json, json};
use ursa_envoy::proxy::ProxyConfig;
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;
use ursa_model::tree::Node;

pub(crate) use self::in_metrics::warn_of_unexported_labels;
pub use self::propagation::{By, TraceContext};
use crate::backends::{Applied, Backends};
use crate::kind::{Merged, Names, Policy};

/// The policy kind MeshTrace.
#[derive(Debug)]
pub struct MeshTrace;

impl Policy for MeshTrace {
    const NAMES: Names = Names { name: "MeshTrace", plural: "meshtraces", short: &["mt"] };
    const OF_ROUTES: bool = true;
    type Conf = schema::Conf;

    fn schema_of_whole() -> Json {
        let routes = ["MeshHTTPRoute", "MeshGatewayRoute", "MeshTrafficRoute"];
        let of_route = json!({"type": "object", "required": ["kind"], "properties": {"kind": {"enum": routes}}});
        let set = |field: &str, of: &str| json!({"required": [field], "properties": {field: {"type": of}}});
        let named = json!({"type": "object", "oneOf": [set("backends", "array"), set("backend", "object")]});
        json!({
            "if": {"required": ["targetRef"], "properties": {"targetRef": of_route}},
            "else": {"required": ["default"], "properties": {"default": named}},
        })
    }

    fn rewrite(settings: &mut Node, report: &Cursor<'_>) {
        spellings::rewrite(settings, report);
    }

    fn validate(settings: &Node, target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, target, report);
    }

    fn defaults() -> Json {
        json!({
            "backends": [],
            "sampling": {"overall": 100, "client": 100, "random": 100},
            "propagators": ["w3c_tracecontext", "w3c_baggage"],
            "stripUnlisted": false,
            "resourceAttributes": {},
            "tags": [],
            "semanticConventions": "openTelemetry",
        })
    }

    fn apply(
        merged: &Merged<'_, Self::Conf>,
        backends: &dyn Backends,
        proxy: &mut ProxyConfig,
        applied: &mut Applied,
    ) {
        apply::conf(merged, backends, proxy, applied);
    }
}
