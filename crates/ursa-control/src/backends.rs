//! The backend resources of a mesh, as policies ask for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ursa_envoy::proxy::Cluster;
use ursa_model::backend::{BackendRef, Endpoint, OpenTelemetryBackend, WireProtocol};
use ursa_model::key::ResourceKey;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_policies::backends::{Backends, ServiceRef};

use crate::generate::{Site, services};
use crate::snapshot::{MeshSnapshot, Stored};

/// The name of the MeshOpenTelemetryBackend that is the control plane's own store of telemetry.
pub(crate) const BUILT_IN: &str = "ursa";

/// The built-in backend: OTLP over gRPC to where this control plane listens for it. `hostname`
/// stands for it when it listens on all addresses.
pub(crate) fn built_in(otlp_grpc: SocketAddr, hostname: &str) -> OpenTelemetryBackend {
    let endpoint = if otlp_grpc.ip().is_unspecified() {
        format!("{hostname}:{}", otlp_grpc.port())
    } else {
        otlp_grpc.to_string()
    };
    OpenTelemetryBackend {
        endpoint: Some(Endpoint::Text(endpoint)),
        protocol: Some(WireProtocol::Grpc),
        ..OpenTelemetryBackend::default()
    }
}

/// The backends and the services of one mesh, and the built-in backend.
#[derive(Debug)]
pub(crate) struct MeshBackends<'a> {
    pub(crate) name: &'a str,
    pub(crate) mesh: &'a MeshSnapshot,
    pub(crate) site: &'a Site,
}

impl Backends for MeshBackends<'_> {
    fn cluster(&self, service: &ServiceRef) -> Cluster {
        services::cluster(service, (self.name, self.mesh), self.site).0
    }

    fn open_telemetry(
        &self,
        mesh: &str,
        reference: &BackendRef,
    ) -> Option<(ResourceKey, OpenTelemetryBackend)> {
        let key = |name| ResourceKey::in_mesh("MeshOpenTelemetryBackend", mesh, name);
        if reference.name.as_deref() == Some(BUILT_IN) {
            return Some((key(BUILT_IN), self.site.built_in.clone()));
        }
        let (name, found) = find(&self.mesh.open_telemetry_backends, reference)?;
        Some((key(name), found.value.clone()))
    }

    fn trace(&self, mesh: &str, reference: &BackendRef) -> Option<(ResourceKey, MeshTraceBackend)> {
        let (name, found) = find(&self.mesh.trace_backends, reference)?;
        Some((ResourceKey::in_mesh("MeshTraceBackend", mesh, name), found.value.clone()))
    }
}

/// By name; by labels, the oldest that has them all, and of equally old ones the first by name.
fn find<'a, T>(
    section: &'a BTreeMap<String, Arc<Stored<T>>>,
    reference: &BackendRef,
) -> Option<(&'a str, &'a Stored<T>)> {
    if let Some(name) = &reference.name {
        return section.get_key_value(name).map(|(name, found)| (name.as_str(), &**found));
    }
    section
        .iter()
        .filter(|(_, stored)| {
            reference.labels.iter().all(|(key, value)| stored.labels.get(key) == Some(value))
        })
        .min_by_key(|(_, stored)| stored.created)
        .map(|(name, found)| (name.as_str(), &**found))
}
