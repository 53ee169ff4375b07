//! Where a Prometheus asks, as the policies say; also for its discovery by the control plane.

use std::sync::Arc;

use ursa_model::backend::OpenTelemetryBackend;
use ursa_model::pipeline::metrics::{PrometheusEndpoint, PrometheusTls};

use super::MeshMetric;
use super::schema::{Conf, Prometheus};
use crate::kind::Policy;
use crate::merge::Tree;
use crate::policy::PolicyResource;
use crate::select::select;
use crate::subject::Subject;

/// Where Prometheus listens for OTLP.
const OTLP_PATH: &str = "/api/v1/otlp";

/// Where a Prometheus is answered by a proxy, as those of `policies` say that mean it.
pub fn endpoints(
    policies: &[Arc<PolicyResource>],
    subject: &Subject<'_>,
) -> Vec<PrometheusEndpoint> {
    let own: Vec<_> = policies
        .iter()
        .filter(|policy| policy.key.kind == MeshMetric::NAMES.name)
        .map(Arc::clone)
        .collect();
    let merged = Tree::join(select(&own, subject).iter().filter_map(|policy| policy.settings()));
    let conf: Conf = serde_json::from_value(merged.to_json()).unwrap_or_default();
    let address = &subject.dataplane.networking.address;
    let backends = conf.backends.into_iter().flatten();
    backends
        .filter_map(|backend| Some(backend.prometheus?.endpoint(address)))
        .filter(|endpoint| endpoint.tls != PrometheusTls::ActiveMtlsBackend)
        .collect()
}

/// Whether the backend is a Prometheus, by the path under which one takes OTLP.
pub(super) fn is_prometheus(backend: &OpenTelemetryBackend) -> bool {
    backend.resolve().is_ok_and(|delivery| delivery.path.starts_with(OTLP_PATH))
}

impl Prometheus {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(5670)
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/metrics")
    }

    /// How it is protected.
    pub fn tls(&self) -> PrometheusTls {
        self.tls.mode.unwrap_or_default()
    }

    /// The endpoint at a proxy.
    pub(super) fn endpoint(&self, address: &str) -> PrometheusEndpoint {
        PrometheusEndpoint {
            address: address.parse().ok(),
            port: self.port(),
            path: self.path().to_owned(),
            tls: self.tls(),
            names: self.names.unwrap_or_default(),
            client_id: self.client_id.clone(),
        }
    }
}
