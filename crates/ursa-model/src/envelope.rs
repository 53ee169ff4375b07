//! What stands around a spec, in either form.

use std::collections::BTreeMap;

use crate::document::{
    API_VERSION, DEFAULT_MESH, EFFECT_LABEL, MESH_LABEL, Meta, NAMESPACE_LABEL, SHADOW,
};
use crate::kind::{Kind, Kinds, Scope};
use crate::names;
use crate::path::Path;
use crate::report::Cursor;
use crate::schema;
use crate::suggest;
use crate::tree::{Map, Node, Place, Value};

/// What stands around a spec.
pub(crate) struct Envelope {
    /// Its kind.
    pub(crate) kind: &'static Kind,
    /// Its name, mesh and labels.
    pub(crate) meta: Meta,
    /// The spec or the flat fields, as written.
    pub(crate) spec: Node,
    /// Where that stands.
    pub(crate) spec_path: Path,
}

/// Fields of the universal form that are not the resource's own.
pub(crate) const UNIVERSAL: [&str; 9] =
    ["type", "mesh", "name", "labels", "spec", "creationTime", "modificationTime", "kri", "status"];
/// Fields of the Kubernetes form. `mesh` stood beside `metadata` in older versions.
const KUBERNETES: [&str; 6] = ["apiVersion", "kind", "metadata", "mesh", "spec", "status"];
/// Fields of Kubernetes' metadata that the API server writes, or that are not for us.
pub(crate) const METADATA: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Whether a top-level field of a flat kind belongs to the envelope.
pub(crate) fn is_envelope(field: &str) -> bool {
    field != "spec" && UNIVERSAL.contains(&field)
}

impl Envelope {
    /// Reads the envelope of a document; `None` if too little of it is right to go on. What is wrong is reported.
    pub(crate) fn read(root: &Node, kinds: &Kinds, cursor: &Cursor<'_>) -> Option<Self> {
        let Some(map) = root.as_map() else {
            cursor.refuse_with_hint(
                format!("a resource is an object, not {}", root.value.describe()),
                "it begins with `type:`, or with `apiVersion:` and `kind:`",
            );
            return None;
        };
        let kubernetes = ["apiVersion", "kind", "metadata"].iter().any(|field| map.contains(field));
        if kubernetes && !map.contains("type") {
            Self::kubernetes(map, kinds, cursor)
        } else {
            Self::universal(map, root.place, kinds, cursor)
        }
    }

    fn universal(map: &Map, place: Place, kinds: &Kinds, cursor: &Cursor<'_>) -> Option<Self> {
        let kind = find_kind(map, "type", kinds, cursor);
        let name = name(map, cursor);
        let mut labels = labels(map, cursor);
        let mesh_label = labels.remove(MESH_LABEL);
        let kind = kind?;
        let mesh = mesh(kind, map, mesh_label, cursor);
        warn_of_effect(kind, &labels, &cursor.at("labels"));
        let (spec, spec_path) = if kind.flat {
            let mut fields = map.clone();
            fields.retain(|entry| !UNIVERSAL.contains(&entry.key.as_str()));
            if map.contains("spec") {
                cursor.at("spec").refuse_with_hint(
                    format!("a {} has no `spec` in this form", kind.name),
                    "write its fields beside `name`",
                );
            }
            (Node::new(place, Value::Map(fields)), Path::root())
        } else {
            spec_beside(map, &UNIVERSAL, kind, kinds, cursor, place)
        };
        let name = checked_name(name?, kind, &cursor.at("name"));
        Some(Self {
            kind,
            meta: Meta { kind: kind.name.to_owned(), mesh, name, labels },
            spec,
            spec_path,
        })
    }

    fn kubernetes(map: &Map, kinds: &Kinds, cursor: &Cursor<'_>) -> Option<Self> {
        match string(map, "apiVersion", cursor) {
            Some(version) if version == API_VERSION => {}
            Some(version) => cursor.at("apiVersion").refuse_with_hint(
                format!("`{version}` is not known"),
                format!("resources of Ursa have `{API_VERSION}`"),
            ),
            None if map.contains("apiVersion") => {}
            None => cursor
                .at("apiVersion")
                .refuse_with_hint("is missing", format!("it is `{API_VERSION}`")),
        }
        let kind = find_kind(map, "kind", kinds, cursor);
        let metadata_cursor = cursor.at("metadata");
        let empty = Map::new();
        let metadata = match map.get("metadata") {
            Some(node) if node.as_map().is_some() => node.as_map().unwrap_or(&empty),
            Some(node) if !node.is_null() => {
                metadata_cursor.refuse(format!("must be an object, not {}", node.value.describe()));
                return None;
            }
            _ => {
                metadata_cursor.refuse("is missing");
                return None;
            }
        };
        for entry in metadata.iter().filter(|entry| !METADATA.contains(&entry.key.as_str())) {
            schema::refuse_unknown(
                &entry.key,
                METADATA,
                metadata,
                &metadata_cursor.key(&entry.key),
            );
        }
        let name = name(metadata, &metadata_cursor);
        let mut labels = labels(metadata, &metadata_cursor);
        if let Some(namespace) = string(metadata, "namespace", &metadata_cursor) {
            labels.entry(NAMESPACE_LABEL.to_owned()).or_insert(namespace);
        }
        let mesh_label = labels.remove(MESH_LABEL);
        let kind = kind?;
        let mesh = mesh(kind, map, mesh_label, cursor);
        warn_of_effect(kind, &labels, &metadata_cursor.at("labels"));
        let place = map.entry("metadata").map_or(Place::START, |entry| entry.key_place);
        let (spec, spec_path) = spec_beside(map, &KUBERNETES, kind, kinds, cursor, place);
        let name = checked_name(name?, kind, &metadata_cursor.at("name"));
        Some(Self {
            kind,
            meta: Meta { kind: kind.name.to_owned(), mesh, name, labels },
            spec,
            spec_path,
        })
    }
}

/// The text of a field; `None` if it is unset or, reported, not text.
fn string(map: &Map, field: &str, cursor: &Cursor<'_>) -> Option<String> {
    map.get(field).filter(|node| !node.is_null()).and_then(|node| text(node, &cursor.at(field)))
}

/// The text of a value; `None` if, reported, it is not text.
fn text(node: &Node, cursor: &Cursor<'_>) -> Option<String> {
    if let Some(text) = node.as_str() {
        return Some(text.to_owned());
    }
    let message = format!("must be a string, not {}", node.value.describe());
    match node.value {
        Value::Number(_) | Value::Bool(_) => cursor.refuse_with_hint(message, "put it in quotes"),
        _ => cursor.refuse(message),
    }
    None
}

fn find_kind(map: &Map, field: &str, kinds: &Kinds, cursor: &Cursor<'_>) -> Option<&'static Kind> {
    let cursor = cursor.at(field);
    if map.get(field).is_none_or(Node::is_null) {
        cursor.refuse_with_hint("is missing", format!("for example `{field}: MeshTrace`"));
        return None;
    }
    let Some(name) = map.get(field).and_then(Node::as_str) else {
        cursor.refuse("must be the name of a kind");
        return None;
    };
    let found = kinds.by_exact_name(name);
    if found.is_none() {
        let message = format!("`{name}` is not a kind of resource");
        let nearest = kinds.by_name(name).map(|kind| kind.name);
        let nearest =
            nearest.or_else(|| suggest::nearest(name, kinds.iter().map(|kind| kind.name)));
        match nearest {
            Some(nearest) => cursor.refuse_with_hint(message, format!("did you mean `{nearest}`?")),
            None => {
                let known: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
                cursor.refuse_with_hint(message, format!("known are {}", known.join(", ")));
            }
        }
    }
    found
}

/// The written name; `None` if it is missing, which is reported.
fn name(map: &Map, cursor: &Cursor<'_>) -> Option<String> {
    let name = string(map, "name", cursor);
    if map.get("name").is_none_or(Node::is_null) {
        cursor.at("name").refuse("is missing");
    }
    name
}

fn checked_name(name: String, kind: &Kind, cursor: &Cursor<'_>) -> String {
    if kind.scope == Scope::Global && kind.name == "Mesh" {
        names::validate_mesh_name(&name, cursor);
    } else {
        names::validate_resource_name(&name, cursor);
    }
    name
}

fn mesh(kind: &Kind, map: &Map, label: Option<String>, cursor: &Cursor<'_>) -> Option<String> {
    let written = string(map, "mesh", cursor);
    let labels = cursor.at(if map.contains("metadata") { "metadata.labels" } else { "labels" });
    if kind.scope == Scope::Global {
        if written.is_some() {
            cursor.at("mesh").warn(format!("has no effect: a {} belongs to no mesh", kind.name));
        }
        return None;
    }
    if let Some(mesh) = &written {
        names::validate_mesh_name(mesh, &cursor.at("mesh"));
        if label.as_ref().is_some_and(|label| label != mesh) {
            labels.key(MESH_LABEL).warn(format!("has no effect: `mesh` says {mesh}"));
        }
    } else if let Some(mesh) = &label {
        names::validate_mesh_name(mesh, &labels.key(MESH_LABEL));
    }
    Some(written.or(label).unwrap_or_else(|| DEFAULT_MESH.to_owned()))
}

fn labels(map: &Map, cursor: &Cursor<'_>) -> BTreeMap<String, String> {
    let cursor = cursor.at("labels");
    let Some(node) = map.get("labels").filter(|node| !node.is_null()) else {
        return BTreeMap::new();
    };
    let Some(written) = node.as_map() else {
        cursor.refuse(format!("must be an object, not {}", node.value.describe()));
        return BTreeMap::new();
    };
    let mut labels = BTreeMap::new();
    for entry in written.iter().filter(|entry| !entry.node.is_null()) {
        if let Some(value) = text(&entry.node, &cursor.key(&entry.key)) {
            labels.insert(entry.key.clone(), value);
        }
    }
    names::validate_labels(&labels, &cursor);
    labels
}

/// A shadow that is none would be applied unseen.
fn warn_of_effect(kind: &Kind, labels: &BTreeMap<String, String>, cursor: &Cursor<'_>) {
    let Some(effect) = labels.get(EFFECT_LABEL) else { return };
    let cursor = cursor.key(EFFECT_LABEL);
    if !kind.policy {
        cursor.warn(format!("has no effect: a {} is no policy", kind.name));
    } else if effect != SHADOW {
        cursor.warn_with_hint(
            format!("`{effect}` means nothing: the policy is applied"),
            format!("`{SHADOW}` only shows what it would do"),
        );
    }
}

/// The spec of a kind that has one, reporting the fields beside it that do not belong there.
fn spec_beside(
    map: &Map,
    envelope: &[&str],
    kind: &'static Kind,
    kinds: &Kinds,
    cursor: &Cursor<'_>,
    place: Place,
) -> (Node, Path) {
    let schema = kinds.schema(kind);
    let fields = schema.get("properties").and_then(serde_json::Value::as_object);
    let spec = map.get("spec").filter(|node| !node.is_null());
    for entry in map.iter().filter(|entry| !envelope.contains(&entry.key.as_str())) {
        let cursor = cursor.key(&entry.key);
        if !fields.is_some_and(|fields| fields.contains_key(&entry.key)) {
            schema::refuse_unknown(&entry.key, envelope.iter().copied(), map, &cursor);
        } else if spec.is_none() && map.contains("spec") {
            schema::refuse_strayed(&entry.key, "spec", &cursor);
        } else {
            let hint =
                format!("put it under `spec`, beside the other settings of the {}", kind.name);
            cursor.refuse_with_hint(format!("`{}` belongs into `spec`", entry.key), hint);
        }
    }
    let spec = spec.cloned().unwrap_or_else(|| {
        let place = map.entry("spec").map_or(place, |entry| entry.key_place);
        Node::empty_map(place)
    });
    (spec, Path::root().key("spec"))
}
