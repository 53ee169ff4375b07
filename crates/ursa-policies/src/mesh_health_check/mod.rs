//! MeshHealthCheck: endpoints of a service are asked whether they are well, and those that are not get no requests.
//!
//! Each proxy asks each endpoint: with `n` proxies that call a service an endpoint is asked `n` times per `interval`. Where a service has many
//! callers, detecting outliers among real requests (MeshCircuitBreaker) costs nothing.
//!
//! Of `http`, `grpc` and `tcp` the one is asked that the service speaks; where that is not given or disabled, `tcp`. A cluster that is asked for
//! the first time serves only when each endpoint has answered or failed once.

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

/// The policy kind MeshHealthCheck.
#[derive(Debug)]
pub struct MeshHealthCheck;

impl Policy for MeshHealthCheck {
    const NAMES: Names =
        Names { name: "MeshHealthCheck", plural: "meshhealthchecks", short: &["mhc"] };
    const PARTS: &'static [Part] = &[Part::To];
    type Conf = schema::Conf;

    fn schema_of_whole() -> Json {
        Part::one_of(Self::PARTS)
    }

    fn rewrite(settings: &mut Node, _report: &Cursor<'_>) {
        settings.get_mut("healthyPanicThreshold").into_iter().for_each(percent::rewrite);
    }

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, report);
    }

    fn defaults() -> Json {
        json!({"interval": "1m", "timeout": "15s", "unhealthyThreshold": 5, "healthyThreshold": 1})
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
