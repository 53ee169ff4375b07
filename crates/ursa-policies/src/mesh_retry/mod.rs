//! MeshRetry: which requests are tried again, how often, and when.
//!
//! Of HTTP and gRPC it stands on routes: a change drains no connection. Of TCP it stands on the listener. Envoy counts what it tries again, what
//! came of it, and what it gave up (`…_retry`, `…_retry_success`, `…_retry_limit_exceeded`, `…_retry_overflow`).
//!
//! Of both `http` and `grpc` the one holds that the destination speaks; HTTP/2 is `http`. Where no policy says something nothing is tried again.

mod apply;
mod conditions;
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

/// The policy kind MeshRetry.
#[derive(Debug)]
pub struct MeshRetry;

impl Policy for MeshRetry {
    const NAMES: Names = Names { name: "MeshRetry", plural: "meshretries", short: &["mr"] };
    const PARTS: &'static [Part] = &[Part::To];
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
