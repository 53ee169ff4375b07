//! What policies ask for while they are applied, and what they leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ursa_envoy::proxy::Cluster;
use ursa_model::backend::{BackendKind, BackendRef, OpenTelemetryBackend};
use ursa_model::key::ResourceKey;
use ursa_model::mesh_trace_backend::{InlineOpenTelemetry, MeshTraceBackend};
use ursa_model::path::Path;
use ursa_model::pipeline::{Backend, PipelineConfig};
use ursa_model::template;

use crate::kind::Merged;
use crate::merge::{Leaf, Tree};
use crate::mesh_trace::TraceContext;

/// A service as routes refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRef {
    /// Its name (`kuma.io/service`).
    pub name: String,
    /// The port of its endpoints. Unset: any.
    pub port: Option<u16>,
    /// Tags that its endpoints have.
    pub tags: BTreeMap<String, String>,
}

/// The backend resources and the services of a mesh, as policies refer to them.
pub trait Backends: fmt::Debug {
    /// How proxies of the mesh send to a service, whether somebody serves it or not.
    fn cluster(&self, service: &ServiceRef) -> Cluster;

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
    /// Settings of MeshTrace that do nothing for this proxy, each with all that is in it, and why.
    pub without_effect: BTreeMap<Path, String>,
    /// Backend resources looked up by name, also those that are missing.
    pub uses: BTreeSet<ResourceKey>,
    /// Kinds of backend resources looked up by labels: any resource of these kinds may come to be meant.
    pub uses_by_labels: BTreeSet<BackendKind>,
    /// Services that requests go to besides those of the outbounds, also those that nobody serves.
    pub destinations: BTreeSet<String>,
    /// How trace context travels; unset where nothing is traced.
    pub context: Option<TraceContext>,
    /// What is asked for and cannot be done at this proxy. A warning says each at length.
    pub lacks: Vec<Lack>,
}

/// Something that policies ask for and that a proxy cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The policies that ask for it, each with the path of a value by which it does.
    pub asked: BTreeMap<ResourceKey, Path>,
    /// What is done instead or not done, in a clause: `` `datadog` neither read nor written``.
    pub words: String,
    /// Why, in a clause: `the module is for Envoy 1.40, and this is 1.36.4`.
    pub why: String,
}

impl Lack {
    /// Of what `fields` of the settings ask for together.
    pub(crate) fn new<C>(
        merged: &Merged<'_, C>,
        fields: &[&str],
        words: String,
        why: &str,
    ) -> Self {
        let mut asked = BTreeMap::new();
        let written = fields.iter().filter_map(|field| merged.tree.at(&[field]));
        for (_, Leaf { origin, .. }) in written.flat_map(Tree::leaves) {
            asked.entry(origin.policy.clone()).or_insert_with(|| origin.path.clone());
        }
        Self { asked, words, why: why.to_owned() }
    }
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

/// Backends as policies write them, for the proxies of one mesh.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    pub(crate) mesh: &'a str,
    pub(crate) backends: &'a dyn Backends,
    pub(crate) applied: &'a mut Applied,
    /// What does not happen while a backend does not exist: `no span goes there`.
    pub(crate) without: &'static str,
}

impl Lookup<'_> {
    /// What is written, under `inline` unless it is a resource; attributes that stand beside a reference are put over the resource's. `None`:
    /// there is no such resource, and a warning says so.
    pub(crate) fn open_telemetry(
        &mut self,
        written: &InlineOpenTelemetry,
        inline: String,
    ) -> Option<Backend> {
        let InlineOpenTelemetry { backend_ref, backend } = written;
        let Some(reference) = backend_ref else { return Some(named(inline, backend.clone())) };
        let mut found = self.referred(reference)?;
        found.resource_attributes.extend(backend.resource_attributes.clone());
        Some(found)
    }

    /// The MeshOpenTelemetryBackend that is meant.
    pub(crate) fn referred(&mut self, reference: &BackendRef) -> Option<Backend> {
        self.applied.looks_up(self.mesh, reference);
        match self.backends.open_telemetry(self.mesh, reference) {
            Some((key, backend)) => Some(named(key.to_string(), backend)),
            None => self.missing(reference),
        }
    }

    /// Warns that what is meant does not exist.
    pub(crate) fn missing<T>(&mut self, reference: &BackendRef) -> Option<T> {
        let (backend, without) = (described(reference, self.mesh), self.without);
        self.applied.warn(format!("{backend} does not exist; {without} until it does"));
        None
    }
}

/// The backend's resource attributes are taken out of it: they are merged with the policies' and put on once.
fn named(name: String, mut spec: OpenTelemetryBackend) -> Backend {
    let resource_attributes = std::mem::take(&mut spec.resource_attributes);
    Backend { resource_attributes, ..Backend::new(name, spec) }
}

/// What a reference means, in words: `MeshTraceBackend default/main`, `MeshTraceBackend of mesh default with team=shop`.
pub fn described(reference: &BackendRef, mesh: &str) -> String {
    let kind = reference.kind.name();
    match &reference.name {
        Some(name) => format!("{kind} {mesh}/{name}"),
        None => {
            let labels: Vec<_> =
                reference.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{kind} of mesh {mesh} with {}", labels.join(", "))
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
