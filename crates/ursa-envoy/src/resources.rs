//! The picture of a proxy as Envoy resources.

use std::collections::BTreeMap;

use envoy_types::pb::google::protobuf::Any;

/// Type URL of clusters (CDS).
pub const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Type URL of endpoints (EDS).
pub const EDS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// Type URL of listeners (LDS).
pub const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Type URL of routes (RDS).
pub const RDS: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// Type URL of what the agent does with telemetry: one resource named `pipeline`, whose value is a
/// [`ursa_model::pipeline::PipelineConfig`] as JSON. For the agent; never relayed to Envoy.
pub const PIPELINE: &str = "type.googleapis.com/ursa.agent.v1.Pipeline";
/// Type URL of secrets: named as the secret, the value is its bytes. For the agent; made by the
/// control plane, not by [`resources`].
pub const SECRET: &str = "type.googleapis.com/ursa.agent.v1.Secret";

/// The one resource of type [`PIPELINE`].
pub const PIPELINE_NAME: &str = "pipeline";

/// All types in the order in which additions are sent, so that what is referred to comes first.
/// Removals go the other way.
pub const TYPES: [&str; 6] = [CDS, EDS, LDS, RDS, PIPELINE, SECRET];

/// Everything one proxy is sent: type URL → name → resource.
pub type Resources = BTreeMap<&'static str, BTreeMap<String, Resource>>;

/// One resource as it travels.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Changes exactly when the content does.
    pub version: String,
    /// The message and its type.
    pub body: Any,
}
