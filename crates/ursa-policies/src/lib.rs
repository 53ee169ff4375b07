//! Policies: schema, validation, merging, explaining, and what each does to a proxy.
//!
//! The way of a policy: a document is checked by its [`kind`](kind::Policy) and becomes a [`PolicyResource`](policy::PolicyResource); [`select`]
//! finds those that mean a proxy and puts them in [`order`]; [`merge`] joins them; [`effective::apply`] makes them hold in a `ProxyConfig`, and
//! [`explain`] says why they do.
//!
//! A kind is one folder, and two lines here: its `pub mod` and its place in [`KINDS`]. Matching, order, merging, explaining, REST, schemas and
//! completion follow from the table.
//!
//! What is *not* here: where policies are stored, how they travel, and when they are applied. All is pure: values in, values out.

pub mod backends;
pub mod effective;
pub mod explain;
pub mod header;
pub mod kind;
mod limits;
mod matches;
pub mod merge;
pub mod mesh_access_log;
pub mod mesh_circuit_breaker;
pub mod mesh_health_check;
pub mod mesh_http_route;
pub mod mesh_metric;
pub mod mesh_retry;
pub mod mesh_timeout;
pub mod mesh_trace;
pub mod mesh_traffic_permission;
pub mod order;
pub mod part;
pub mod policy;
pub mod select;
pub mod source;
mod spelling;
pub mod subject;
#[cfg(test)]
mod testing;
mod traffic;

use kind::PolicyKind;
use ursa_model::kind::Kinds;

/// Every kind of policy, in the order in which they are applied.
pub static KINDS: &[PolicyKind] = &[
    PolicyKind::of::<mesh_http_route::MeshHttpRoute>(),
    PolicyKind::of::<mesh_timeout::MeshTimeout>(),
    PolicyKind::of::<mesh_retry::MeshRetry>(),
    PolicyKind::of::<mesh_health_check::MeshHealthCheck>(),
    PolicyKind::of::<mesh_circuit_breaker::MeshCircuitBreaker>(),
    PolicyKind::of::<mesh_traffic_permission::MeshTrafficPermission>(),
    PolicyKind::of::<mesh_trace::MeshTrace>(),
    PolicyKind::of::<mesh_access_log::MeshAccessLog>(),
    PolicyKind::of::<mesh_metric::MeshMetric>(),
];

/// Every kind of resource: the model's and the policies'.
pub fn kinds() -> Kinds {
    ursa_model::kinds().and(KINDS.iter().map(|policy| &policy.kind))
}
