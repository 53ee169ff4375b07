//! References to backends that are not there. They are accepted, since what they mean may come later; whoever writes one is told.

use std::sync::Arc;

use ursa_model::ResourceKey;
use ursa_model::backend::BackendRef;
use ursa_model::document::Document;
use ursa_model::path::{Path, Segment};
use ursa_model::report::{Severity, Violation};
use ursa_model::tree::{Node, Value};
use ursa_policies::backends::{Backends as _, described};

use crate::backends::MeshBackends;
use crate::generate::Site;
use crate::snapshot::MeshSnapshot;

/// Fields that hold a reference.
const FIELDS: [&str; 2] = ["backendRef", "reference"];

/// Warns of each reference in `document` that means nothing: no resource of the `mesh`, and none of `others`, which are written together with it.
pub(crate) fn warnings(
    document: &Document,
    mesh: &MeshSnapshot,
    site: &Site,
    others: &[&Document],
) -> Vec<Violation> {
    let Some(name) = document.key.mesh.as_deref() else { return Vec::new() };
    let mut found = Vec::new();
    references(&document.spec, &Path::root().key("spec"), &mut found);
    let backends = MeshBackends { mesh, built_in: &site.built_in };
    let is_there = |reference: &BackendRef| match reference.kind.name() {
        "MeshTraceBackend" => backends.trace(name, reference).is_some(),
        _ => backends.open_telemetry(name, reference).is_some(),
    };
    let missing = found.into_iter().filter(|(reference, ..)| {
        !is_there(reference) && !others.iter().any(|other| is_meant(reference, name, other))
    });
    missing.map(|(reference, path, node)| warning(&reference, name, path, node)).collect()
}

fn references<'n>(node: &'n Node, path: &Path, found: &mut Vec<(BackendRef, Path, &'n Node)>) {
    match &node.value {
        Value::Map(map) => {
            for entry in map {
                let path = path.key(&entry.key);
                let is_reference = FIELDS.contains(&entry.key.as_str());
                match serde_json::from_value(entry.node.to_json()) {
                    Ok(reference) if is_reference => found.push((reference, path, &entry.node)),
                    _ => references(&entry.node, &path, found),
                }
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                references(item, &path.with(Segment::Index(index)), found);
            }
        }
        _ => {}
    }
}

fn is_meant(reference: &BackendRef, mesh: &str, other: &Document) -> bool {
    let ResourceKey { kind, mesh: own, name } = &other.key;
    kind == reference.kind.name()
        && own.as_deref() == Some(mesh)
        && reference.name.as_ref().is_none_or(|wanted| wanted == name)
        && reference.labels.iter().all(|(key, value)| other.meta.labels.get(key) == Some(value))
}

fn warning(reference: &BackendRef, mesh: &str, path: Path, node: &Node) -> Violation {
    let what = described(reference, mesh);
    Violation {
        severity: Severity::Warning,
        document: 0,
        path,
        place: Some(node.place),
        message: format!("there is no {what}: nothing is sent until there is"),
        hint: Some("apply it too; `ursa` is the control plane's own".to_owned()),
    }
}

/// The snapshot of the document's mesh.
pub(crate) fn mesh_of(
    document: &Document,
    snapshots: &crate::snapshot::Snapshots,
) -> Arc<MeshSnapshot> {
    snapshots.mesh(document.key.mesh.as_deref().unwrap_or_default())
}
