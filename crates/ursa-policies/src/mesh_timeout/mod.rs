//! MeshTimeout: how long connections and requests may take.
//!
//! What holds for requests (`requestTimeout`, `streamIdleTimeout`) stands on routes, and what holds for connections to endpoints on clusters:
//! changing them drains no connection of a client. `idleTimeout` and `requestHeadersTimeout` stand on listeners too, where a change drains.
//!
//! Where no policy says otherwise, no request is cut for having taken long: Envoy's own 15 s are off. Kuma makes a MeshTimeout with each mesh; here
//! none is made, and `docs/resilience.md` has it to copy.

mod apply;
pub mod schema;
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
use crate::part::Part;

/// The policy kind MeshTimeout.
#[derive(Debug)]
pub struct MeshTimeout;

impl Policy for MeshTimeout {
    const NAMES: Names = Names { name: "MeshTimeout", plural: "meshtimeouts", short: &["mto"] };
    const PARTS: &'static [Part] = &[Part::Rules, Part::From, Part::To];
    const RULES_MERGE: bool = true;
    type Conf = schema::Conf;

    fn schema_of_whole() -> Json {
        Part::one_of(Self::PARTS)
    }

    fn rewrite(_settings: &mut Node, _report: &Cursor<'_>) {}

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, report);
    }

    /// Those that hold in both directions; the others differ, and stand with [`ursa_envoy::proxy::HttpTimeouts::of`].
    fn defaults() -> Json {
        json!({
            "connectionTimeout": "10s",
            "http": {"requestTimeout": "0s", "maxStreamDuration": "0s", "maxConnectionDuration": "0s", "requestHeadersTimeout": "0s"},
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
