//! MeshTrafficPermission: who may call whom.
//!
//! Clients are known by their certificates, so it holds where the mesh has mTLS, for what comes in. Kuma 2.x names clients in `from`, by service and
//! tags: of those whom several items mean, the strongest policy's last item decides. Kuma 3.0 names them in `rules`, by SPIFFE id and server name:
//! whoever is denied anywhere is denied, before whoever is denied in the shadow, before whoever is allowed. Where policies of both are there, `rules`
//! decide first. Whom nothing means is denied.
//!
//! Envoy counts decisions by policy, under the name that [`permissions`] gives: the policy's KRI. What is denied in the shadow alone is let through,
//! counted and logged.

mod apply;
pub mod schema;
#[cfg(test)]
mod tests;
mod validate;

use schemars::Schema;
use serde_json::{Value as Json, json};
use ursa_envoy::proxy::ProxyConfig;
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;
use ursa_model::tree::Node;

use crate::backends::{Applied, Backends};
use crate::kind::{Merged, Names, Policy};
use crate::part::Part;

pub use apply::{Decision, permissions};

/// The policy kind MeshTrafficPermission.
#[derive(Debug)]
pub struct MeshTrafficPermission;

impl Policy for MeshTrafficPermission {
    const NAMES: Names =
        Names { name: "MeshTrafficPermission", plural: "meshtrafficpermissions", short: &["mtp"] };
    const PARTS: &'static [Part] = &[Part::Rules, Part::Clients];
    type Conf = schema::Conf;

    fn schema() -> Schema {
        schemars::schema_for!(schema::Spec)
    }

    fn rewrite(_settings: &mut Node, _report: &Cursor<'_>) {}

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, report);
    }

    fn validate_spec(_spec: &Node, target: &TargetRef, report: &Cursor<'_>) {
        validate::target(target, report);
    }

    fn defaults() -> Json {
        json!({})
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
