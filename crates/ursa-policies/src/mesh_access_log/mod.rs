//! MeshAccessLog: which requests are written down, where, and in which words.
//!
//! Envoy writes files itself. What goes to a TCP sink or an OpenTelemetry backend goes to the agent first, as log records, so that TLS,
//! credentials, queueing and retries apply; each such backend is a channel of the agent's pipeline (`pipeline.channels`), with resource attributes
//! of its own.
//!
//! Access logs stand in Envoy's listeners: a change of path, format, filter or share, or of which backends there are, drains connections. Where a
//! backend is, how it is reached and its resource attributes are the agent's business and drain nothing.

mod apply;
mod formats;
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
use crate::part::Part;

/// The policy kind MeshAccessLog.
#[derive(Debug)]
pub struct MeshAccessLog;

impl Policy for MeshAccessLog {
    const NAMES: Names = Names { name: "MeshAccessLog", plural: "meshaccesslogs", short: &["mal"] };
    const PARTS: &'static [Part] = &[Part::Rules, Part::From, Part::To];
    type Conf = schema::Conf;

    fn schema_of_whole() -> Json {
        Part::one_of(Self::PARTS)
    }

    fn rewrite(settings: &mut Node, _report: &Cursor<'_>) {
        spellings::rewrite(settings);
    }

    fn validate(settings: &Node, _target: &TargetRef, report: &Cursor<'_>) {
        validate::conf(settings, report);
    }

    fn defaults() -> Json {
        json!({ "backends": [], "resourceAttributes": {} })
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
