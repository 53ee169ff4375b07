//! Where spans go: the policy's backends as the agent's exporters.

use ursa_model::backend::{BackendKind, BackendRef};
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::pipeline::Backend;

use super::schema::{self, Conf};
use crate::backends::{Applied, Backends, Lookup};
use crate::merge::Tree;

/// All backends that exist, the policy's own first. Without one of its own there are no additional ones either. What
/// is missing is in the warnings.
pub(super) fn backends(
    conf: &Conf,
    tree: &Tree,
    mesh: &str,
    backends: &dyn Backends,
    applied: &mut Applied,
) -> Vec<Backend> {
    let written_by = |field: &str| {
        tree.origin(&[field]).map_or_else(String::new, |origin| origin.policy.to_string())
    };
    let Some(own) = conf.backends.iter().flatten().next() else { return Vec::new() };
    let mut lookup = Lookup { mesh, backends, applied, without: "no span goes there" };
    let name = format!("inline of {}", written_by("backends"));
    let mut found: Vec<Backend> = backend(&mut lookup, own, name).into_iter().collect();
    let mut forms = Vec::new();
    for additional in conf.additional_backends.iter().flatten() {
        let form = form(&additional.inline);
        forms.push(form);
        let number = match forms.iter().filter(|other| **other == form).count() {
            1 => String::new(),
            count => format!(" {count}"),
        };
        let name = format!("additional {form}{number} of {}", written_by("additionalBackends"));
        let Some(backend) = backend(&mut lookup, additional, name) else { continue };
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

/// Where the spans of `backend` go, under `inline` unless it is a resource. `None`: nowhere, and why is in the
/// warnings.
fn backend(lookup: &mut Lookup<'_>, backend: &schema::Backend, inline: String) -> Option<Backend> {
    match &backend.reference {
        None => trace_backend(lookup, &backend.inline, inline),
        Some(reference) => match reference.kind {
            BackendKind::MeshTraceBackend => referred(lookup, reference),
            BackendKind::MeshOpenTelemetryBackend => lookup.referred(reference),
        },
    }
}

/// A backend that stands in the policy or in a MeshTraceBackend, under the name it shall have.
fn trace_backend(
    lookup: &mut Lookup<'_>,
    backend: &MeshTraceBackend,
    name: String,
) -> Option<Backend> {
    if let Some(zipkin) = &backend.zipkin {
        return Some(Backend::new(name, zipkin.exporter()));
    }
    if let Some(datadog) = &backend.datadog {
        return Some(Backend::new(name, datadog.exporter()));
    }
    lookup.open_telemetry(backend.open_telemetry.as_ref()?, name)
}

/// The MeshTraceBackend that is meant.
fn referred(lookup: &mut Lookup<'_>, reference: &BackendRef) -> Option<Backend> {
    lookup.applied.looks_up(lookup.mesh, reference);
    match lookup.backends.trace(lookup.mesh, reference) {
        Some((key, backend)) => trace_backend(lookup, &backend, key.to_string()),
        None => lookup.missing(reference),
    }
}
