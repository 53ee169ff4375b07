//! References to backends and routes that are not there. They are accepted, since what they mean may come later; whoever writes one is told.

use std::sync::Arc;

use ursa_model::ResourceKey;
use ursa_model::backend::BackendRef;
use ursa_model::document::Document;
use ursa_model::path::{Path, Segment};
use ursa_model::report::{Severity, Violation};
use ursa_model::tree::{Node, Value};
use ursa_policies::backends::{Backends as _, described};
use ursa_policies::kind::Policy as _;
use ursa_policies::mesh_http_route::MeshHttpRoute;
use ursa_policies::mesh_trace::MeshTrace;
use ursa_policies::policy::PolicyResource;

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
    let backends = MeshBackends { name, mesh, site };
    let is_there = |reference: &BackendRef| match reference.kind.name() {
        "MeshTraceBackend" => backends.trace(name, reference).is_some(),
        _ => backends.open_telemetry(name, reference).is_some(),
    };
    let missing = found.into_iter().filter(|(reference, ..)| {
        !is_there(reference) && !others.iter().any(|other| is_meant(reference, name, other))
    });
    let missing = missing.map(|(reference, path, node)| warning(&reference, name, path, node));
    missing.chain(missing_routes(document, mesh, others)).collect()
}

/// Refuses `backends` of a MeshTrace for a route that no MeshTrace of the mesh for proxies names, where there are some: a proxy has one tracer.
pub(crate) fn other_backends(
    document: &Document,
    mesh: &MeshSnapshot,
    others: &[&Document],
) -> Option<Violation> {
    let path = Path::root().key("default").key("backends");
    let of_route = |document: &Document| {
        let kind = document.spec.get("targetRef").and_then(|target| target.get("kind"));
        kind.and_then(Node::as_str) == Some(MeshHttpRoute::NAMES.name)
    };
    let is_trace = |key: &ResourceKey| key.kind == MeshTrace::NAMES.name;
    if !is_trace(&document.key) || !of_route(document) {
        return None;
    }
    let own = document.spec.at(&path)?;
    let written = others.iter().filter(|other| {
        is_trace(&other.key) && other.key.mesh == document.key.mesh && !of_route(other)
    });
    let written = written.filter_map(|other| Some(other.spec.at(&path)?.to_json()));
    let stored = mesh.policies.iter().filter(|policy| {
        is_trace(&policy.key)
            && !policy.target.is_route()
            && others.iter().all(|other| other.key != policy.key)
    });
    let stored = stored.filter_map(|policy| Some(policy.settings()?.at(&["backends"])?.to_json()));
    let of_proxies: Vec<_> = written.chain(stored).collect();
    if of_proxies.is_empty() || of_proxies.contains(&own.to_json()) {
        return None;
    }
    let path = Path::root().key("spec").join(&path);
    Some(Violation {
        severity: Severity::Refused,
        document: 0,
        path,
        place: Some(own.place),
        message: "a route's spans go where its proxy's go, and no MeshTrace for proxies says this"
            .to_owned(),
        hint: Some("leave `backends` out".to_owned()),
    })
}

/// Warns of each MeshHTTPRoute that settings are for by its name, and that is not there.
fn missing_routes(
    document: &Document,
    mesh: &MeshSnapshot,
    others: &[&Document],
) -> Vec<Violation> {
    let kind = MeshHttpRoute::NAMES.name;
    let root = Path::root().key("spec");
    let to = document.spec.get("to").and_then(Node::as_list).unwrap_or_default();
    let holders = to.iter().enumerate().map(|(index, to)| (root.key("to").index(index), to));
    let mut missing = Vec::new();
    for (path, holder) in [(root.clone(), &document.spec)].into_iter().chain(holders) {
        let Some(target) = holder.get("targetRef") else { continue };
        let text = |field| target.get(field).and_then(Node::as_str);
        let (Some(own), Some(name)) = (text("kind"), text("name")) else { continue };
        let named = |policy: &Arc<PolicyResource>| {
            policy.key.kind == kind && (policy.key.name == name || policy.display_name() == name)
        };
        let comes = |other: &&&Document| {
            other.key.kind == kind && other.key.mesh == document.key.mesh && other.key.name == name
        };
        if own == kind && !mesh.policies.iter().any(named) && !others.iter().any(|it| comes(&it)) {
            missing.push(Violation {
                severity: Severity::Warning,
                document: 0,
                path: path.key("targetRef").key("name"),
                place: Some(target.place),
                message: format!("there is no {kind} `{name}`: this means nothing until there is"),
                hint: None,
            });
        }
    }
    missing
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
