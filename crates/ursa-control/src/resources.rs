//! Reading and changing resources, with the rules that hold between them.
//!
//! Every change goes through here, one at a time, so that what was checked (the mesh exists,
//! nothing is in the mesh that goes) still holds when it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Duration;
use ursa_model::ResourceKey;
use ursa_model::document::{self, Document};
use ursa_model::kind::{Kind, Kinds, Scope};
use ursa_model::path::Path;
use ursa_model::report::{Severity, Violation};
use ursa_store::{
    Change, Expect, Filter, Listing, Origin, Record, Store, StoreError, Written as StoreWritten,
};

use crate::backends::BUILT_IN;
use crate::identity::missing;
use crate::lacks::Lacks;
use crate::plan::Proposal;
use crate::planner::Planner;
use crate::references;

/// How long a change waits for proxies' targets to follow it before it is answered.
const FOLLOW: Duration = Duration::from_secs(2);
/// How many of the resources that hold a mesh are named.
const MAX_NAMED: usize = 5;

/// A text with documents, as a client sends it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// One or several documents, YAML or JSON.
    pub text: &'a str,
    /// The file it was read from, for messages and explanations.
    pub file: Option<&'a str>,
    /// The line of that file where the text begins, from 1.
    pub line: u32,
}

/// What became of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The resource is new.
    Created,
    /// The resource was there and has changed.
    Updated,
    /// The resource was there, word for word.
    Unchanged,
    /// The resource is gone.
    Deleted,
}

impl Action {
    /// What writing `text` does where `before` is stored.
    pub(crate) fn of(before: Option<&Record>, text: &str) -> Self {
        match before {
            None => Self::Created,
            Some(before) if before.text == text => Self::Unchanged,
            Some(_) => Self::Updated,
        }
    }
}

/// One document that was applied, or would have been.
#[derive(Debug, Clone, Serialize)]
pub struct Applied {
    /// The resource.
    pub key: ResourceKey,
    /// What became of it.
    pub action: Action,
    /// What its writer should know.
    pub warnings: Vec<Violation>,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Documents are wrong; all that is wrong with them, and the warnings.
    #[error("{}", describe(.0))]
    Violations(Vec<Violation>),
    /// The document is of another resource than the one named.
    #[error("the document is of {found}, not of {wanted}")]
    OtherResource {
        /// What was named.
        wanted: ResourceKey,
        /// What the document says.
        found: ResourceKey,
    },
    /// One document was wanted.
    #[error("the body holds {0} documents, not one")]
    NotOne(usize),
    /// A mesh cannot go while something is in it.
    #[error("mesh `{mesh}` still has {}", list(.resources, *.more))]
    MeshInUse {
        /// The mesh.
        mesh: String,
        /// Some of what is in it.
        resources: Vec<ResourceKey>,
        /// How many more there are.
        more: usize,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn describe(violations: &[Violation]) -> String {
    let refusals: Vec<_> =
        violations.iter().filter(|it| it.is_refusal()).map(ToString::to_string).collect();
    refusals.join("; ")
}

fn list(resources: &[ResourceKey], more: usize) -> String {
    let mut names: Vec<_> = resources.iter().map(ToString::to_string).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// The resources.
#[derive(Debug)]
pub(crate) struct Resources {
    store: Arc<dyn Store>,
    kinds: Arc<Kinds>,
    planner: Arc<Planner>,
    gate: Mutex<()>,
}

impl Resources {
    pub(crate) fn new(store: Arc<dyn Store>, kinds: Arc<Kinds>, planner: Arc<Planner>) -> Self {
        Self { store, kinds, planner, gate: Mutex::default() }
    }

    pub(crate) fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// One resource as it is stored.
    pub(crate) async fn get(&self, key: &ResourceKey) -> Result<Option<Record>, StoreError> {
        self.store.get(key).await
    }

    /// Resources as they are stored.
    pub(crate) async fn list(&self, filter: &Filter) -> Result<Listing, StoreError> {
        self.store.list(filter).await
    }

    /// Makes or changes all resources of `sources`, or none. With `dry_run`, only says what would
    /// be done.
    pub(crate) async fn apply(
        &self,
        sources: &[Source<'_>],
        dry_run: bool,
    ) -> Result<Vec<Applied>, ChangeError> {
        if dry_run {
            return self.rehearse(sources).await;
        }
        let read = self.read(sources);
        let gate = self.gate.lock().await;
        let documents = self.accepted(read).await?;
        let mut applied = Vec::new();
        let mut changes = Vec::new();
        let of_source: Vec<_> = documents.iter().map(|document| document.source).collect();
        for ReadDocument { document, origin, warnings, .. } in documents {
            let before = self.get(&document.key).await?;
            let action = Action::of(before.as_ref(), &document.text);
            let (key, text) = (document.key, document.text);
            applied.push(Applied { key: key.clone(), action, warnings });
            changes.push(Change::Put { key, text, origin, expect: Expect::Any });
        }
        self.write(gate, changes).await?;
        Lacks::of(&self.planner).tell(&mut applied, &of_source);
        Ok(applied)
    }

    /// What `apply` would do and say.
    async fn rehearse(&self, sources: &[Source<'_>]) -> Result<Vec<Applied>, ChangeError> {
        let Proposal { mut applied, of_source, changes } =
            self.propose(sources, &BTreeSet::new()).await?;
        Lacks::after(&self.planner, &changes).await.tell(&mut applied, &of_source);
        Ok(applied)
    }

    /// Makes or changes the one resource `key`.
    pub(crate) async fn put(
        &self,
        key: &ResourceKey,
        text: &str,
        expect: Expect,
    ) -> Result<(Applied, Record), ChangeError> {
        let read = self.read(&[Source { text, file: None, line: 1 }]);
        let gate = self.gate.lock().await;
        let documents = self.accepted(read).await?;
        let count = documents.len();
        let Ok([ReadDocument { document, mut warnings, .. }]) = <[_; 1]>::try_from(documents)
        else {
            return Err(ChangeError::NotOne(count));
        };
        if document.key != *key {
            return Err(ChangeError::OtherResource { wanted: key.clone(), found: document.key });
        }
        let before = self.get(key).await?;
        let text = document.text;
        let change = Change::Put { key: key.clone(), text, origin: None, expect };
        let written = self.write(gate, vec![change]).await?;
        let record = written.records.into_iter().flatten().next();
        let record = record.ok_or_else(|| StoreError::NotFound { key: key.clone() })?;
        let action = match before {
            None => Action::Created,
            Some(before) if before.version == record.version => Action::Unchanged,
            Some(_) => Action::Updated,
        };
        warnings.extend(Lacks::of(&self.planner).warnings(key));
        Ok((Applied { key: key.clone(), action, warnings }, record))
    }

    /// Removes a resource.
    pub(crate) async fn delete(
        &self,
        key: &ResourceKey,
        expect: Expect,
    ) -> Result<(), ChangeError> {
        let gate = self.gate.lock().await;
        self.refuse_mesh_in_use(key, &BTreeSet::new()).await?;
        let mut changes = vec![Change::Delete { key: key.clone(), expect }];
        if key.mesh.is_none() && key.kind == "Mesh" {
            let within = Filter { kind: Some("Secret".to_owned()), mesh: Some(key.name.clone()) };
            let secrets = self.list(&within).await?.records.into_iter().map(|record| record.key);
            changes.extend(secrets.filter(is_of_its_authority).map(Change::delete));
        }
        self.write(gate, changes).await?;
        Ok(())
    }

    /// Refuses that `key` goes, if it is a mesh in which something is left when `going` are gone.
    pub(crate) async fn refuse_mesh_in_use(
        &self,
        key: &ResourceKey,
        going: &BTreeSet<ResourceKey>,
    ) -> Result<(), ChangeError> {
        if key.mesh.is_some() || key.kind != "Mesh" {
            return Ok(());
        }
        let within = Filter { kind: None, mesh: Some(key.name.clone()) };
        let records = self.list(&within).await?.records.into_iter().map(|record| record.key);
        let mut resources: Vec<_> =
            records.filter(|key| !going.contains(key) && !is_of_its_authority(key)).collect();
        if resources.is_empty() {
            return Ok(());
        }
        let more = resources.len().saturating_sub(MAX_NAMED);
        resources.truncate(MAX_NAMED);
        Err(ChangeError::MeshInUse { mesh: key.name.clone(), resources, more })
    }

    /// Writes, and lets the next change in before proxies' targets have followed.
    async fn write(
        &self,
        gate: MutexGuard<'_, ()>,
        changes: Vec<Change>,
    ) -> Result<StoreWritten, StoreError> {
        let written = self.store.write(changes).await?;
        drop(gate);
        if !self.planner.reached(written.revision, FOLLOW).await {
            tracing::warn!(revision = written.revision, "proxies' targets lag behind the store");
        }
        Ok(written)
    }

    pub(crate) fn read(&self, sources: &[Source<'_>]) -> Read {
        let mut read = Read { documents: Vec::new(), violations: Vec::new() };
        for (index, source) in sources.iter().enumerate() {
            let above = source.line.saturating_sub(1);
            let parsed = document::parse(source.text, &self.kinds);
            let first = read.documents.len();
            let accepted = parsed.is_accepted();
            for mut document in parsed.documents {
                document.place.line = document.place.line.saturating_add(above);
                let origin = source
                    .file
                    .map(|file| Origin { file: file.to_owned(), line: document.place.line });
                let warnings = Vec::new();
                read.documents.push(ReadDocument { source: index, document, origin, warnings });
            }
            for mut violation in parsed.violations {
                if let Some(place) = &mut violation.place {
                    place.line = place.line.saturating_add(above);
                }
                let within = std::mem::replace(&mut violation.document, index);
                // Without a refusal every document of the text is there, in order.
                match read.documents.get_mut(first + within).filter(|_| accepted) {
                    Some(document) => document.warnings.push(violation),
                    None => read.violations.push(violation),
                }
            }
        }
        read
    }

    /// The documents, if nothing at all is wrong with them.
    pub(crate) async fn accepted(&self, read: Read) -> Result<Vec<ReadDocument>, ChangeError> {
        let Read { mut documents, mut violations } = read;
        self.check_together(&documents, &mut violations).await?;
        self.warn_of_what_is_missing(&mut documents);
        if !violations.iter().any(Violation::is_refusal) {
            return Ok(documents);
        }
        violations.extend(documents.into_iter().flat_map(|document| document.warnings));
        violations.sort_by_key(|violation| (violation.document, violation.place));
        Err(ChangeError::Violations(violations))
    }

    /// Tells writers which backends and authorities are missing.
    fn warn_of_what_is_missing(&self, documents: &mut [ReadDocument]) {
        let snapshots = self.planner.snapshots();
        let all: Vec<_> = documents.iter().map(|read| &read.document).collect();
        let warnings = |document: &Document| {
            let mesh = references::mesh_of(document, &snapshots);
            let mut found = references::warnings(document, &mesh, self.planner.site(), &all);
            found.extend(missing::warnings(document, &snapshots.mesh(&document.key.name), &all));
            found
        };
        let found: Vec<_> = all.iter().map(|document| warnings(document)).collect();
        for (read, found) in documents.iter_mut().zip(found) {
            let of_source = |warning| Violation { document: read.source, ..warning };
            read.warnings.extend(found.into_iter().map(of_source));
        }
    }

    /// What can only be known by looking at the documents together, and at the store.
    async fn check_together(
        &self,
        documents: &[ReadDocument],
        violations: &mut Vec<Violation>,
    ) -> Result<(), StoreError> {
        let snapshots = self.planner.snapshots();
        let all: Vec<_> = documents.iter().map(|read| &read.document).collect();
        violations.extend(documents.iter().filter_map(|read| {
            let mesh = references::mesh_of(&read.document, &snapshots);
            let found = references::other_backends(&read.document, &mesh, &all)?;
            Some(Violation { document: read.source, ..found })
        }));
        let mut refuse = |document: &ReadDocument, path: &str, message: String, hint: &str| {
            violations.push(Violation {
                severity: Severity::Refused,
                document: document.source,
                path: Path::root().key(path),
                place: Some(document.document.place),
                message,
                hint: Some(hint.to_owned()),
            });
        };
        let mut seen = BTreeSet::new();
        let mut meshes: BTreeMap<&str, bool> = documents
            .iter()
            .filter(|it| it.document.key.kind == "Mesh")
            .map(|it| (it.document.key.name.as_str(), true))
            .collect();
        for read in documents {
            let key = &read.document.key;
            if !seen.insert(key) {
                refuse(read, "name", format!("{key} stands here twice"), "keep one of them");
            }
            if key.kind == "MeshOpenTelemetryBackend" && key.name == BUILT_IN {
                let message = format!("`{BUILT_IN}` is the control plane's own store of telemetry");
                refuse(read, "name", message, "choose another name");
            }
            let Some(mesh) = key.mesh.as_deref() else { continue };
            let known = match meshes.get(mesh) {
                Some(known) => *known,
                None => self.get(&ResourceKey::global("Mesh", mesh)).await?.is_some(),
            };
            meshes.insert(mesh, known);
            if !known {
                let hint = "apply the Mesh first, or together with this";
                refuse(read, "mesh", format!("there is no mesh `{mesh}`"), hint);
            }
        }
        Ok(())
    }
}

/// The key of the resource `name` of a kind; `mesh` counts for kinds that are in a mesh.
pub(crate) fn key_of(kind: &Kind, mesh: &str, name: &str) -> ResourceKey {
    match kind.scope {
        Scope::Global => ResourceKey::global(kind.name, name),
        Scope::Mesh => ResourceKey::in_mesh(kind.name, mesh, name),
    }
}

/// Whether it holds an authority that was made for its mesh, and goes with it.
fn is_of_its_authority(key: &ResourceKey) -> bool {
    let mesh = key.mesh.as_deref().unwrap_or_default();
    let own = |rest: &str| rest.starts_with(".ca-builtin-");
    key.kind == "Secret" && key.name.strip_prefix(mesh).is_some_and(own)
}

/// What became of the texts.
pub(crate) struct Read {
    documents: Vec<ReadDocument>,
    violations: Vec<Violation>,
}

/// A document by itself without a refusal.
pub(crate) struct ReadDocument {
    /// Which of the texts it is from.
    pub(crate) source: usize,
    pub(crate) document: Document,
    pub(crate) origin: Option<Origin>,
    /// What its writer should know.
    pub(crate) warnings: Vec<Violation>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::spans::Tracer;
    use crate::testing::site;
    use tokio::time::Instant;
    use ursa_store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn changes_do_not_wait_for_what_follows_from_others() {
        let (store, kinds) = (Arc::new(MemoryStore::new()), Arc::new(ursa_policies::kinds()));
        let metrics = Metrics::new("test", "default", &kinds, &[]);
        // It does not run: nothing follows.
        let planner = Planner::new(
            Arc::clone(&store) as _,
            Arc::clone(&kinds),
            site(),
            metrics,
            Tracer::default(),
        );
        let resources = Resources::new(store, kinds, Arc::new(planner));
        let put = async |name: &str| {
            let text = format!("type: Mesh\nname: {name}\n");
            let key = ResourceKey::global("Mesh", name);
            resources.put(&key, &text, Expect::Absent).await.map(|(applied, _)| applied.action)
        };
        let started = Instant::now();
        let (one, two) = tokio::join!(put("one"), put("two"));
        assert_eq!((one.unwrap(), two.unwrap()), (Action::Created, Action::Created));
        assert_eq!(started.elapsed().as_secs(), FOLLOW.as_secs());
    }
}
