//! What policies ask for while they are applied, and what they leave behind.

use std::collections::BTreeSet;
use std::fmt;

use ursa_model::backend::{BackendKind, BackendRef, OpenTelemetryBackend};
use ursa_model::key::ResourceKey;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::pipeline::PipelineConfig;
use ursa_model::template;

/// The backend resources of a mesh, as policies refer to them.
pub trait Backends: fmt::Debug {
    /// The MeshOpenTelemetryBackend that `reference` means, and its name. Of several that its labels match, the oldest.
    fn open_telemetry(
        &self,
        mesh: &str,
        reference: &BackendRef,
    ) -> Option<(ResourceKey, OpenTelemetryBackend)>;

    /// The MeshTraceBackend that `reference` means, and its name. Of several that its labels match, the oldest.
    fn trace(&self, mesh: &str, reference: &BackendRef) -> Option<(ResourceKey, MeshTraceBackend)>;
}

/// What applying policies to one proxy found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What does not work as written, for the policy's status and `inspect`.
    pub warnings: Vec<String>,
    /// Backend resources looked up by name, also those that are missing.
    pub uses: BTreeSet<ResourceKey>,
    /// Kinds of backend resources looked up by labels: any resource of these kinds may come to be meant.
    pub uses_by_labels: BTreeSet<BackendKind>,
}

impl Applied {
    /// Notes what does not work as written, once.
    pub(crate) fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Notes that `reference` of a proxy in `mesh` is looked up.
    pub(crate) fn looks_up(&mut self, mesh: &str, reference: &BackendRef) {
        match &reference.name {
            Some(name) => {
                self.uses.insert(ResourceKey::in_mesh(reference.kind.name(), mesh, name));
            }
            None => {
                self.uses_by_labels.insert(reference.kind);
            }
        }
    }

    /// Whether a change of the resource `key`, in the proxy's mesh, can change the proxy.
    pub fn depends_on(&self, key: &ResourceKey) -> bool {
        self.uses.contains(key) || self.uses_by_labels.iter().any(|kind| kind.name() == key.kind)
    }
}

/// What a reference means, in words.
pub(crate) fn described(reference: &BackendRef, mesh: &str) -> String {
    let kind = reference.kind.name();
    match &reference.name {
        Some(name) => format!("{kind} {mesh}/{name}"),
        None => {
            let labels: Vec<_> =
                reference.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("a {kind} of mesh {mesh} with {}", labels.join(", "))
        }
    }
}

/// Warns of attributes that will be left out. What the agent alone knows is not looked at here.
pub(crate) fn warn_of_unknown<'a>(
    attributes: impl Iterator<Item = (&'a String, &'a String)>,
    pipeline: &PipelineConfig,
    applied: &mut Applied,
) {
    let known = |name: &str| {
        let agents = name.starts_with("env.") || name.starts_with("k8s.");
        if agents { Some(name.to_owned()) } else { pipeline.facts.get(name).cloned() }
    };
    for (attribute, value) in attributes.collect::<BTreeSet<_>>() {
        let missing = template::render(value, known).missing;
        if let Some(name) = missing.first() {
            applied.warn(format!(
                "resource attribute `{attribute}` is left out: this proxy has no `{name}`"
            ));
        }
    }
}
