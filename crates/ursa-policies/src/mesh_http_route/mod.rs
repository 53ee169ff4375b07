//! MeshHTTPRoute: which requests to a service go where, and how they are changed on the way.
//!
//! It becomes routes of outbounds, before the one that takes all requests of the listener. They are delivered apart from it (RDS), so that a change
//! drains no connection, and so are the clusters of services that no outbound leads to, with their endpoints.
//!
//! Rules of the same requests merge, field by field, whoever wrote them. Of rules whose requests overlap the more specific counts, as the Gateway API
//! has it: see `order`. What no rule takes goes to the service itself, as without routes.

mod apply;
mod order;
pub mod schema;
mod spellings;
#[cfg(test)]
mod tests;
mod validate;

use schemars::{Schema, schema_for};
use serde_json::{Value as Json, json};
use ursa_envoy::proxy::ProxyConfig;
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;
use ursa_model::tree::Node;

use crate::backends::{Applied, Backends};
use crate::kind::{Merged, Names, Policy};
use crate::merge::Origin;
use crate::part::Part;

/// Under which name requests of the rule that an origin lies in are counted.
pub fn counted_as(origin: &Origin) -> String {
    let number = order::written(Some(origin)).get(1).copied().unwrap_or_default();
    format!("{}-{number}", origin.policy.name)
}

/// The policy kind MeshHTTPRoute.
#[derive(Debug)]
pub struct MeshHttpRoute;

impl Policy for MeshHttpRoute {
    const NAMES: Names =
        Names { name: "MeshHTTPRoute", plural: "meshhttproutes", short: &["httproute"] };
    const PARTS: &'static [Part] = &[Part::Routes];
    type Conf = schema::Conf;

    fn schema() -> Schema {
        schema_for!(schema::Spec)
    }

    fn rewrite(settings: &mut Node, _report: &Cursor<'_>) {
        spellings::rewrite(settings);
    }

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::routing(settings, report);
    }

    fn validate_spec(spec: &Node, target: &TargetRef, report: &Cursor<'_>) {
        validate::spec(spec, target, report);
    }

    fn defaults() -> Json {
        json!({ "rules": {} })
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
