//! Where spans go: the policy's backends as the agent's exporters.

use ursa_model::backend::{BackendKind, BackendRef, OpenTelemetryBackend};
use ursa_model::mesh_trace_backend::{InlineOpenTelemetry, MeshTraceBackend};
use ursa_model::pipeline::Backend;

use super::schema::{self, Conf};
use crate::backends::{Applied, Backends, described};
use crate::kind::Merged;

/// All backends that exist, the policy's own first. Without one of its own there are no additional ones either. What
/// is missing is in the warnings.
pub(super) fn backends(
    merged: &Merged<'_, Conf>,
    mesh: &str,
    backends: &dyn Backends,
    applied: &mut Applied,
) -> Vec<Backend> {
    let written_by = |field: &str| {
        merged.origin(&[field]).map_or_else(String::new, |origin| origin.policy.to_string())
    };
    let Some(own) = merged.conf.backends.iter().flatten().next() else { return Vec::new() };
    let mut lookup = Lookup { mesh, backends, applied };
    let name = format!("inline of {}", written_by("backends"));
    let mut found: Vec<Backend> = lookup.backend(own, name).into_iter().collect();
    let mut forms = Vec::new();
    for additional in merged.conf.additional_backends.iter().flatten() {
        let form = form(&additional.inline);
        forms.push(form);
        let number = match forms.iter().filter(|other| **other == form).count() {
            1 => String::new(),
            count => format!(" {count}"),
        };
        let name = format!("additional {form}{number} of {}", written_by("additionalBackends"));
        let Some(backend) = lookup.backend(additional, name) else { continue };
        if found.iter().any(|known| known.name == backend.name) {
            lookup.applied.warn(format!("{} is named twice as a backend", backend.name));
        } else {
            found.push(backend);
        }
    }
    if found.is_empty() {
        lookup.applied.warnings.push("nothing is traced: there is no backend".to_owned());
    }
    found
}

fn form(backend: &MeshTraceBackend) -> &'static str {
    if backend.zipkin.is_some() {
        "zipkin"
    } else if backend.datadog.is_some() {
        "datadog"
    } else {
        "openTelemetry"
    }
}

/// Backends by name or labels, for the proxies of one mesh.
struct Lookup<'a> {
    mesh: &'a str,
    backends: &'a dyn Backends,
    applied: &'a mut Applied,
}

impl Lookup<'_> {
    /// Where the spans of `backend` go, under `inline` unless it is a resource. `None`: nowhere, and why is in the
    /// warnings.
    fn backend(&mut self, backend: &schema::Backend, inline: String) -> Option<Backend> {
        match &backend.reference {
            None => self.trace_backend(&backend.inline, inline),
            Some(reference) => match reference.kind {
                BackendKind::MeshTraceBackend => self.referred_trace_backend(reference),
                BackendKind::MeshOpenTelemetryBackend => self.referred_open_telemetry(reference),
            },
        }
    }

    /// A backend that stands in the policy or in a MeshTraceBackend, under the name it shall have.
    fn trace_backend(&mut self, backend: &MeshTraceBackend, name: String) -> Option<Backend> {
        if let Some(zipkin) = &backend.zipkin {
            return Some(Backend::new(name, zipkin.exporter()));
        }
        if let Some(datadog) = &backend.datadog {
            return Some(Backend::new(name, datadog.exporter()));
        }
        let InlineOpenTelemetry { backend_ref, backend } = backend.open_telemetry.as_ref()?;
        let Some(reference) = backend_ref else { return Some(named(name, backend.clone())) };
        let mut found = self.referred_open_telemetry(reference)?;
        found.resource_attributes.extend(backend.resource_attributes.clone());
        Some(found)
    }

    fn referred_trace_backend(&mut self, reference: &BackendRef) -> Option<Backend> {
        self.applied.looks_up(self.mesh, reference);
        let Some((key, backend)) = self.backends.trace(self.mesh, reference) else {
            return self.missing(reference);
        };
        self.trace_backend(&backend, key.to_string())
    }

    fn referred_open_telemetry(&mut self, reference: &BackendRef) -> Option<Backend> {
        self.applied.looks_up(self.mesh, reference);
        match self.backends.open_telemetry(self.mesh, reference) {
            Some((key, backend)) => Some(named(key.to_string(), backend)),
            None => self.missing(reference),
        }
    }

    fn missing(&mut self, reference: &BackendRef) -> Option<Backend> {
        let backend = described(reference, self.mesh);
        self.applied
            .warnings
            .push(format!("{backend} does not exist; no span goes there until it does"));
        None
    }
}

/// The backend's resource attributes are taken out of it: they are merged with the policies' and put on once.
fn named(name: String, mut spec: OpenTelemetryBackend) -> Backend {
    let resource_attributes = std::mem::take(&mut spec.resource_attributes);
    Backend { resource_attributes, ..Backend::new(name, spec) }
}
