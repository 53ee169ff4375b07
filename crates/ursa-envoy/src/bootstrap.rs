//! What Envoy is started with.

use std::path::Path;

use serde_json::Value;
use ursa_model::key::ProxyId;

/// What differs from one proxy's bootstrap to the next.
#[derive(Debug, Clone)]
pub struct BootstrapInputs<'a> {
    /// Which proxy; becomes the node id `<mesh>.<name>`.
    pub id: &'a ProxyId,
    /// The service it speaks for. Envoy: `node.cluster`.
    pub cluster: &'a str,
    /// Zone the proxy runs in. Envoy: `node.locality.zone`.
    pub zone: Option<&'a str>,
    /// Unix socket on which the agent serves ADS.
    pub ads_socket: &'a Path,
    /// Unix socket on which the agent takes OTLP over gRPC.
    pub otlp_socket: &'a Path,
    /// Unix socket on which Envoy shall serve its admin interface.
    pub admin_socket: &'a Path,
    /// What else the control plane shall know of the proxy. Envoy: `node.metadata`.
    pub metadata: &'a serde_json::Map<String, Value>,
}
