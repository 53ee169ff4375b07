//! What policies ask for while they are applied, and what they leave behind.

use std::collections::BTreeSet;
use std::fmt;

use ursa_model::backend::{BackendKind, BackendRef, OpenTelemetryBackend};
use ursa_model::key::ResourceKey;
use ursa_model::mesh_trace_backend::MeshTraceBackend;

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
