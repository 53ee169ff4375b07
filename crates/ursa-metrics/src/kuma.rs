//! Kuma's names of what we emit under another, for dashboards and rules that are not moved yet.
//!
//! Kuma counts durations of xDS in milliseconds and leaves `_total` away. What it names as we do stands in the catalogue
//! alone. Buckets are ours, in Kuma's unit, since those that Kuma has cannot tell milliseconds apart.

use crate::{Metric, control};

/// Another name of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alias {
    /// What is shown once more.
    pub of: Metric,
    /// Under which name.
    pub name: &'static str,
    /// By what its values are multiplied; a histogram's bounds and sum.
    pub scale: f64,
}

/// What Kuma's control plane names differently.
pub const ALIASES: &[Alias] = &[
    same(control::XDS_RESPONSES_SENT, "xds_responses_sent"),
    same(control::XDS_REQUESTS_RECEIVED, "xds_requests_received"),
    milliseconds(control::XDS_GENERATION_SECONDS, "xds_generation"),
    same(control::XDS_GENERATION_ERRORS, "xds_generation_errors"),
    milliseconds(control::XDS_DELIVERY_SECONDS, "xds_delivery"),
    same(control::STORE_OPERATION_SECONDS, "store"),
    same(control::STORE_CONFLICTS, "store_conflicts"),
    same(control::MESH_CACHE, "mesh_cache"),
    same(control::POLICY_MATCHING_CACHE, "policy_matching_cache"),
    same(control::EVENTS_DROPPED, "events_dropped"),
];

const fn same(of: Metric, name: &'static str) -> Alias {
    Alias { of, name, scale: 1.0 }
}

const fn milliseconds(of: Metric, name: &'static str) -> Alias {
    Alias { of, name, scale: 1000.0 }
}
