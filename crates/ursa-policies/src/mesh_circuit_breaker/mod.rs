//! MeshCircuitBreaker: how much may be under way to a service at once, and when an endpoint that fails is left out for a while.
//!
//! Everything stands on clusters: a change drains no connection of a client. Limits are those of one proxy, not of the mesh, and Envoy counts what
//! it turns away because of them (`…_overflow`).
//!
//! Where no policy says otherwise Envoy's own limits hold (1,024; 3 retries), and no endpoint is left out. A detector that is not named detects
//! nothing, though Envoy's own would.

mod apply;
pub mod schema;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::{Value as Json, json};
use ursa_envoy::proxy::ProxyConfig;
use ursa_model::percent;
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;
use ursa_model::tree::Node;

use crate::backends::{Applied, Backends};
use crate::kind::{Merged, Names, Policy};
use crate::part::Part;

/// The policy kind MeshCircuitBreaker.
#[derive(Debug)]
pub struct MeshCircuitBreaker;

impl Policy for MeshCircuitBreaker {
    const NAMES: Names =
        Names { name: "MeshCircuitBreaker", plural: "meshcircuitbreakers", short: &["mcb"] };
    const PARTS: &'static [Part] = &[Part::Rules, Part::From, Part::To];
    const RULES_MERGE: bool = true;
    type Conf = schema::Conf;

    fn schema_of_whole() -> Json {
        Part::one_of(Self::PARTS)
    }

    fn rewrite(settings: &mut Node, _report: &Cursor<'_>) {
        let outliers = settings.get_mut("outlierDetection");
        let threshold = outliers.and_then(|it| it.get_mut("healthyPanicThreshold"));
        threshold.into_iter().for_each(percent::rewrite);
    }

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, report);
    }

    fn defaults() -> Json {
        json!({
            "connectionLimits": {"maxConnections": 1024, "maxPendingRequests": 1024, "maxRequests": 1024, "maxRetries": 3},
            "outlierDetection": {"healthyPanicThreshold": 50},
        })
    }

    fn apply(
        merged: &Merged<'_, Self::Conf>,
        _backends: &dyn Backends,
        proxy: &mut ProxyConfig,
        applied: &mut Applied,
    ) {
        apply::conf(merged, proxy, applied);
    }
}
