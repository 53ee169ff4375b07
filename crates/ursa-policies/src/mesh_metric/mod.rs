//! MeshMetric: what is measured of a proxy and of its applications, and who gets to know it.
//!
//! All of it is the agent's business (`pipeline.collection`): it asks Envoy and the applications, names and labels what it hears, answers
//! Prometheus, and sends OTLP through a channel of its pipeline for each backend. Envoy's configuration is the same with and without it, so that
//! no change of a MeshMetric drains a connection.
//!
//! A backend may have a `sidecar` of its own; what that says wins, field by field, over the policy's.

mod apply;
mod entities;
mod prometheus;
pub mod schema;
mod spellings;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::{Value as Json, json};
use ursa_envoy::proxy::ProxyConfig;
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;
use ursa_model::tree::Node;

use crate::backends::{Applied, Backends};
use crate::kind::{Merged, Names, Policy};

pub use prometheus::endpoints;

/// The policy kind MeshMetric.
#[derive(Debug)]
pub struct MeshMetric;

impl Policy for MeshMetric {
    const NAMES: Names = Names { name: "MeshMetric", plural: "meshmetrics", short: &["mm"] };
    type Conf = schema::Conf;

    fn rewrite(settings: &mut Node, report: &Cursor<'_>) {
        spellings::rewrite(settings, report);
    }

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, report);
    }

    fn defaults() -> Json {
        json!({
            "applications": [],
            "backends": [],
            "cardinality": {"limit": 2000, "overflow": "aggregate"},
            "resourceAttributes": {},
            "sidecar": {
                "includeUnused": false,
                "profiles": {"appendProfiles": [{"name": "Basic"}], "exclude": [], "include": []},
            },
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
