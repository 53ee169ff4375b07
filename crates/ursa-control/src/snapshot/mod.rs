//! What one mesh says at one moment.
//!
//! A snapshot never changes; the next one shares with it whatever did not change. Documents are
//! parsed once, when they arrive. One that cannot be read (written by another version, say) is
//! left out and reported, and takes nothing else with it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use ursa_model::dataplane::{Dataplane, Inbound, Protocol};
use ursa_model::document::{self, Document};
use ursa_model::key::{ProxyId, ResourceKey};
use ursa_model::kind::Kinds;
use ursa_model::mesh::{AuthorityBackend, Mesh, Mtls, MtlsMode};
use ursa_model::mesh_open_telemetry_backend::MeshOpenTelemetryBackend;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::secret::Secret;
use ursa_policies::policy::PolicyResource;
use ursa_policies::subject::Subject;
use ursa_store::Record;

use crate::identity::{Secured, Trust};

/// A Dataplane with what belongs to its resource.
#[derive(Debug, PartialEq)]
pub(crate) struct Proxy {
    pub(crate) id: ProxyId,
    pub(crate) dataplane: Dataplane,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Proxy {
    /// As policies look at it.
    pub(crate) fn subject<'a>(&'a self, zone: &'a str) -> Subject<'a> {
        Subject { id: &self.id, dataplane: &self.dataplane, labels: &self.labels, zone: Some(zone) }
    }

    /// The services that its inbounds serve.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        let inbounds = self.dataplane.networking.inbound.iter();
        inbounds.filter_map(Inbound::service)
    }
}

/// One inbound as others reach it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    /// The Dataplane's name.
    pub(crate) proxy: String,
    /// Where it is reached.
    pub(crate) address: String,
    /// Where it is reached.
    pub(crate) port: u16,
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// All its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// A resource with what the store knows of it.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    pub(crate) value: T,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) version: u64,
    pub(crate) created: Timestamp,
}

type Section<T> = Arc<BTreeMap<String, Arc<T>>>;

/// One mesh.
#[derive(Debug, Clone, Default)]
pub(crate) struct MeshSnapshot {
    /// Whether there is a Mesh resource.
    pub(crate) exists: bool,
    /// Mutual TLS, as the Mesh says.
    pub(crate) mtls: Option<Arc<Mtls>>,
    /// Authorities that can be used; kept up to date by [`crate::identity::keeper`].
    pub(crate) trust: Arc<Trust>,
    /// Who takes connections with a certificate, as agents say.
    pub(crate) secured: Arc<Secured>,
    pub(crate) proxies: Section<Proxy>,
    /// Sorted by key.
    pub(crate) policies: Arc<Vec<Arc<PolicyResource>>>,
    pub(crate) open_telemetry_backends: Section<Stored<MeshOpenTelemetryBackend>>,
    pub(crate) trace_backends: Section<Stored<MeshTraceBackend>>,
    pub(crate) secrets: Section<Stored<Secret>>,
    /// `kuma.io/service` → where it is reached, sorted.
    pub(crate) services: Arc<BTreeMap<String, Arc<Vec<Instance>>>>,
    /// Stored documents that cannot be read, and why.
    pub(crate) unreadable: Arc<BTreeMap<ResourceKey, String>>,
}

/// All meshes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshots {
    revision: u64,
    meshes: BTreeMap<String, Arc<MeshSnapshot>>,
}

/// A change of one resource, as the store tells it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: ResourceKey,
    /// None: deleted.
    pub(crate) record: Option<Record>,
}

impl Snapshots {
    /// The store's revision that these are of.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The snapshot of a mesh; empty for a mesh that nothing was said about.
    pub(crate) fn mesh(&self, name: &str) -> Arc<MeshSnapshot> {
        self.meshes.get(name).cloned().unwrap_or_default()
    }

    /// How many meshes there are.
    pub(crate) fn len(&self) -> usize {
        self.meshes.len()
    }

    /// All meshes that something was said about.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Arc<MeshSnapshot>)> {
        self.meshes.iter().map(|(name, mesh)| (name.as_str(), mesh))
    }

    /// The same but for what is known of a mesh besides its resources.
    pub(crate) fn amended(&self, name: &str, change: impl FnOnce(&mut MeshSnapshot)) -> Self {
        let mut next = self.clone();
        if let Some(mesh) = next.meshes.get_mut(name) {
            change(Arc::make_mut(mesh));
        }
        next
    }

    /// The next snapshots, of the store's `revision`, with what changed in each mesh.
    pub(crate) fn next(
        &self,
        changes: &[Change],
        kinds: &Kinds,
        revision: u64,
    ) -> (Self, BTreeMap<String, BTreeSet<ResourceKey>>) {
        let mut next = Self { revision, ..self.clone() };
        let mut touched: BTreeMap<String, BTreeSet<ResourceKey>> = BTreeMap::new();
        for change in changes {
            // A Mesh is outside all meshes, and its name is the mesh's.
            let name = change.key.mesh.as_ref().unwrap_or(&change.key.name);
            let mesh = next.meshes.entry(name.clone()).or_default();
            Arc::make_mut(mesh).change(change, kinds);
            touched.entry(name.clone()).or_default().insert(change.key.clone());
        }
        for (name, keys) in &touched {
            if let (Some(mesh), before) = (next.meshes.get_mut(name), self.mesh(name)) {
                let mesh = Arc::make_mut(mesh);
                mesh.index_services(&before, keys);
            }
        }
        next.meshes.retain(|_, mesh| !mesh.is_empty());
        (next, touched)
    }
}

impl MeshSnapshot {
    fn is_empty(&self) -> bool {
        !self.exists
            && self.proxies.is_empty()
            && self.policies.is_empty()
            && self.open_telemetry_backends.is_empty()
            && self.trace_backends.is_empty()
            && self.secrets.is_empty()
            && self.unreadable.is_empty()
    }

    /// The backend that signs, and what inbounds ask of their clients; none: mTLS is off.
    pub(crate) fn enabled(&self) -> Option<(&AuthorityBackend, MtlsMode)> {
        let backend = self.mtls.as_ref()?.enabled()?;
        Some((backend, backend.mode()))
    }

    /// Whether clients may come with a certificate or without.
    pub(crate) fn is_permissive(&self) -> bool {
        self.enabled().is_some_and(|(_, mode)| mode == MtlsMode::Permissive)
    }

    /// One proxy.
    pub(crate) fn proxy(&self, name: &str) -> Option<&Arc<Proxy>> {
        self.proxies.get(name)
    }

    /// Where a service is reached, sorted.
    pub(crate) fn instances(&self, service: &str) -> &[Instance] {
        self.services.get(service).map_or(&[], |instances| instances.as_slice())
    }

    /// The policy of that key.
    pub(crate) fn policy(&self, key: &ResourceKey) -> Option<&Arc<PolicyResource>> {
        let at = self.policies.binary_search_by(|policy| policy.key.cmp(key)).ok()?;
        self.policies.get(at)
    }

    fn change(&mut self, change: &Change, kinds: &Kinds) {
        let key = &change.key;
        Arc::make_mut(&mut self.unreadable).remove(key);
        let read = change.record.as_ref().map(|record| read(record, kinds));
        if let Some(Err(why)) = read {
            tracing::warn!(resource = %key, %why, "a stored document cannot be read and is left out");
            Arc::make_mut(&mut self.unreadable).insert(key.clone(), why);
            self.put(key, None);
        } else {
            self.put(key, read.and_then(Result::ok));
        }
    }

    fn put(&mut self, key: &ResourceKey, resource: Option<Resource>) {
        let name = &key.name;
        match resource {
            Some(Resource::Mesh(mtls)) => {
                self.exists = true;
                self.mtls = mtls;
            }
            Some(Resource::Proxy(proxy)) => set(&mut self.proxies, name, Some(proxy)),
            Some(Resource::Policy(policy)) => self.put_policy(key, Some(Arc::new(policy))),
            Some(Resource::OpenTelemetryBackend(it)) => {
                set(&mut self.open_telemetry_backends, name, Some(it));
            }
            Some(Resource::TraceBackend(it)) => set(&mut self.trace_backends, name, Some(*it)),
            Some(Resource::Secret(it)) => set(&mut self.secrets, name, Some(it)),
            None => match key.kind.as_str() {
                "Mesh" => {
                    self.exists = false;
                    self.mtls = None;
                }
                "Dataplane" => set(&mut self.proxies, name, None),
                "MeshOpenTelemetryBackend" => {
                    set(&mut self.open_telemetry_backends, name, None);
                }
                "MeshTraceBackend" => set(&mut self.trace_backends, name, None),
                "Secret" => set(&mut self.secrets, name, None),
                _ => self.put_policy(key, None),
            },
        }
    }

    fn put_policy(&mut self, key: &ResourceKey, policy: Option<Arc<PolicyResource>>) {
        let policies = Arc::make_mut(&mut self.policies);
        match (policies.binary_search_by(|policy| policy.key.cmp(key)), policy) {
            (Ok(at), Some(policy)) => {
                if let Some(slot) = policies.get_mut(at) {
                    *slot = policy;
                }
            }
            (Ok(at), None) => drop(policies.remove(at)),
            (Err(at), Some(policy)) => policies.insert(at, policy),
            (Err(_), None) => {}
        }
    }

    /// Brings the index up to date for the services of the Dataplanes among `keys`.
    fn index_services(&mut self, before: &Self, keys: &BTreeSet<ResourceKey>) {
        let mut touched = BTreeSet::new();
        for key in keys.iter().filter(|key| key.kind == "Dataplane") {
            for proxy in [before.proxy(&key.name), self.proxy(&key.name)].into_iter().flatten() {
                touched.extend(proxy.services().map(str::to_owned));
            }
        }
        let names: BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        for service in touched {
            let kept = self.instances(&service).iter();
            let mut instances: Vec<_> =
                kept.filter(|instance| !names.contains(instance.proxy.as_str())).cloned().collect();
            let changed = names.iter().filter_map(|name| self.proxy(name));
            instances.extend(changed.flat_map(|proxy| instances_of(proxy, &service)));
            instances.sort();
            if instances.as_slice() != self.instances(&service) {
                let services = Arc::make_mut(&mut self.services);
                if instances.is_empty() {
                    services.remove(&service);
                } else {
                    services.insert(service, Arc::new(instances));
                }
            }
        }
    }
}

/// The inbounds of a proxy that serve a service, as others reach them. Those that are not ready
/// are left out.
fn instances_of(proxy: &Proxy, service: &str) -> Vec<Instance> {
    let networking = &proxy.dataplane.networking;
    let reached = |inbound| match &networking.advertised_address {
        Some(advertised) => advertised.clone(),
        None => proxy.dataplane.inbound_address(inbound).to_owned(),
    };
    let serves = |inbound: &&Inbound| inbound.is_ready() && inbound.service() == Some(service);
    let inbounds = networking.inbound.iter().filter(serves);
    inbounds
        .map(|inbound| Instance {
            proxy: proxy.id.name.clone(),
            address: reached(inbound),
            port: inbound.port,
            protocol: inbound.protocol(),
            tags: inbound.tags.clone(),
        })
        .collect()
}

fn set<T>(section: &mut Section<T>, name: &str, value: Option<T>) {
    let section = Arc::make_mut(section);
    match value {
        Some(value) => drop(section.insert(name.to_owned(), Arc::new(value))),
        None => drop(section.remove(name)),
    }
}

/// A document, typed.
enum Resource {
    Mesh(Option<Arc<Mtls>>),
    Proxy(Proxy),
    Policy(PolicyResource),
    OpenTelemetryBackend(Stored<MeshOpenTelemetryBackend>),
    TraceBackend(Box<Stored<MeshTraceBackend>>),
    Secret(Stored<Secret>),
}

fn read(record: &Record, kinds: &Kinds) -> Result<Resource, String> {
    let document = parse(record, kinds)?;
    let key = &record.key;
    if document.key != *key {
        return Err(format!("it is a {}", document.key));
    }
    Ok(match key.kind.as_str() {
        "Mesh" => Resource::Mesh(typed::<Mesh>(&document)?.mtls.map(Arc::new)),
        "Dataplane" => Resource::Proxy(Proxy {
            id: ProxyId::new(key.mesh.clone().unwrap_or_default(), &key.name),
            dataplane: typed(&document)?,
            labels: document.meta.labels.clone(),
        }),
        "MeshOpenTelemetryBackend" => Resource::OpenTelemetryBackend(stored(&document, record)?),
        "MeshTraceBackend" => Resource::TraceBackend(Box::new(stored(&document, record)?)),
        "Secret" => Resource::Secret(stored(&document, record)?),
        _ => {
            let file = record.origin.as_ref().map(|origin| origin.file.as_str());
            let policy = PolicyResource::from_document(&document, file);
            Resource::Policy(policy.ok_or_else(|| format!("{} is not a known kind", key.kind))?)
        }
    })
}

/// The document of a record, with places as in the file it came from.
pub(crate) fn parse(record: &Record, kinds: &Kinds) -> Result<Document, String> {
    let line = record.origin.as_ref().map_or(1, |origin| origin.line);
    match document::parse_one(&record.text, kinds, line) {
        Ok((document, _)) => Ok(document),
        Err(violations) => Err(violations
            .iter()
            .find(|violation| violation.is_refusal())
            .map_or_else(|| "it holds no document".to_owned(), ToString::to_string)),
    }
}

fn stored<T: DeserializeOwned>(document: &Document, record: &Record) -> Result<Stored<T>, String> {
    let labels = document.meta.labels.clone();
    let (version, created) = (record.version, record.created);
    Ok(Stored { value: typed(document)?, labels, version, created })
}

fn typed<T: DeserializeOwned>(document: &Document) -> Result<T, String> {
    // Serde's words may hold the value, and the value may be secret.
    serde_json::from_value(document.spec.to_json())
        .map_err(|_| format!("it does not have the shape of a {}", document.key.kind))
}
