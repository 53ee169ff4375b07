//! Documents: resources as they are written in files and sent to the API.
//!
//! Two envelopes are read. The universal form has `type`, `mesh`, `name`, `labels`, and then `spec` or, of flat kinds, the fields themselves. The
//! Kubernetes form has `apiVersion`, `kind`, `metadata` and `spec`; the mesh is the label `kuma.io/mesh`, the namespace becomes a label.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::key::ResourceKey;
use crate::kind::{Kind, Kinds, Scope};
use crate::names;
use crate::path::{Path, Segment};
use crate::report::{Cursor, Report, Severity, Violation};
use crate::schema;
use crate::suggest;
use crate::tree::{Map, Node, Place};
use crate::yaml::{self, MAX_TEXT, Source};

/// The mesh of resources that name none.
pub const DEFAULT_MESH: &str = "default";
/// The label that names the mesh in the Kubernetes form.
pub const MESH_LABEL: &str = "kuma.io/mesh";
/// The label that holds `metadata.namespace`.
pub const NAMESPACE_LABEL: &str = "k8s.kuma.io/namespace";
/// The one `apiVersion` there is.
pub const API_VERSION: &str = "kuma.io/v1alpha1";

/// What is known of every resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// The kind's name.
    pub kind: String,
    /// The mesh; absent for global kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<String>,
    /// The resource's own name.
    pub name: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Meta {
    /// The resource's key.
    pub fn key(&self) -> ResourceKey {
        ResourceKey { kind: self.kind.clone(), mesh: self.mesh.clone(), name: self.name.clone() }
    }
}

/// One resource as it was written, checked.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// What names it.
    pub key: ResourceKey,
    /// What is known of every resource.
    pub meta: Meta,
    /// The spec, or the flat fields, in canonical spelling; places are kept.
    pub spec: Node,
    /// Whether the fields stand at top level.
    pub flat: bool,
    /// Where its text begins.
    pub place: Place,
    /// Its own text as written.
    pub text: String,
}

/// Without the spec and the text, which may be a secret's.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("key", &self.key)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// The canonical universal form.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::Map::new();
        json.insert("type".to_owned(), self.meta.kind.as_str().into());
        if let Some(mesh) = &self.meta.mesh {
            json.insert("mesh".to_owned(), mesh.as_str().into());
        }
        json.insert("name".to_owned(), self.meta.name.as_str().into());
        if !self.meta.labels.is_empty() {
            let labels =
                self.meta.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
            json.insert("labels".to_owned(), serde_json::Value::Object(labels.collect()));
        }
        match self.spec.to_json() {
            serde_json::Value::Object(fields) if self.flat => json.extend(fields),
            spec => {
                json.insert("spec".to_owned(), spec);
            }
        }
        serde_json::Value::Object(json)
    }
}

/// A value as YAML, in the order of its fields.
pub fn to_yaml(value: &serde_json::Value) -> String {
    yaml::write(value)
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The documents without a refusal, in order.
    pub documents: Vec<Document>,
    /// All that is wrong or worth a warning, in order.
    pub violations: Vec<Violation>,
}

impl Parsed {
    /// Whether nothing was refused.
    pub fn is_accepted(&self) -> bool {
        !self.violations.iter().any(Violation::is_refusal)
    }
}

/// Reads all documents of a text: YAML or JSON, both envelopes. Empty documents are skipped.
pub fn parse(text: &str, kinds: &Kinds) -> Parsed {
    let mut parsed = Parsed::default();
    if text.len() > MAX_TEXT {
        let message = format!("the text is longer than {MAX_TEXT} bytes");
        parsed.violations.push(Violation {
            severity: Severity::Refused,
            document: 0,
            path: Path::root(),
            place: None,
            message,
            hint: Some("split it into several files".to_owned()),
        });
        return parsed;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut written: HashMap<ResourceKey, u32> = HashMap::new();
    for (index, source) in yaml::split(text).into_iter().enumerate() {
        let (document, mut violations) = parse_source(source, kinds);
        if let Some(document) = document {
            let first = *written.entry(document.key.clone()).or_insert(source.first_line);
            if first == source.first_line {
                parsed.documents.push(document);
            } else {
                let message =
                    format!("{} stands in this text twice, first in line {first}", document.key);
                violations.push(Violation {
                    severity: Severity::Refused,
                    document: index,
                    path: Path::root(),
                    place: Some(document.place),
                    message,
                    hint: None,
                });
            }
        }
        parsed.violations.extend(
            violations.into_iter().map(|violation| Violation { document: index, ..violation }),
        );
    }
    parsed
}

/// Reads a text that is one document. Places are those of the file in which the text begins at `first_line`, from 1.
///
/// # Errors
/// With all violations when one refuses the document, or when the text is not exactly one document.
pub fn parse_one(
    text: &str,
    kinds: &Kinds,
    first_line: u32,
) -> Result<(Document, Vec<Violation>), Vec<Violation>> {
    let mut parsed = parse(text, kinds);
    let by = first_line.saturating_sub(1);
    for place in parsed.violations.iter_mut().filter_map(|violation| violation.place.as_mut()) {
        place.line = place.line.saturating_add(by);
    }
    let accepted = parsed.is_accepted();
    let whole = |message: &str| Violation {
        severity: Severity::Refused,
        document: 0,
        path: Path::root(),
        place: Some(Place { line: first_line, column: 1 }),
        message: message.to_owned(),
        hint: None,
    };
    match (parsed.documents.pop(), parsed.documents.is_empty()) {
        (Some(mut document), true) if accepted => {
            document.place.line = document.place.line.saturating_add(by);
            document.spec.shift_lines(by);
            Ok((document, parsed.violations))
        }
        _ if !accepted => Err(parsed.violations),
        (None, _) => Err(vec![whole("there is no document")]),
        (Some(_), _) => Err(vec![whole("there is more than one document")]),
    }
}

fn parse_source(source: Source<'_>, kinds: &Kinds) -> (Option<Document>, Vec<Violation>) {
    let by = source.first_line.saturating_sub(1);
    let mut read = yaml::read(source.text);
    for place in read.violations.iter_mut().filter_map(|violation| violation.place.as_mut()) {
        place.line = place.line.saturating_add(by);
    }
    let Some(mut root) = read.node else { return (None, read.violations) };
    root.shift_lines(by);
    let place = Place { line: source.first_line, column: 1 };
    let report = Report::new(&root);
    let envelope = Envelope::read(&root, kinds, &report.cursor());
    let mut violations = read.violations;
    violations.extend(report.finish());
    let Some(Envelope { kind, meta, spec, spec_path }) = envelope else {
        return (None, violations);
    };
    let (spec, found) = canonical(&root, spec, &spec_path, kind, &meta, kinds);
    violations.extend(found);
    violations.sort_by_key(|violation| violation.place);
    if violations.iter().any(Violation::is_refusal) {
        return (None, violations);
    }
    let document = Document {
        key: meta.key(),
        meta,
        spec,
        flat: kind.flat,
        place,
        text: source.text.to_owned(),
    };
    (Some(document), violations)
}

/// The spec in canonical spelling, and all that is wrong with it.
fn canonical(
    written: &Node,
    mut spec: Node,
    spec_path: &Path,
    kind: &'static Kind,
    meta: &Meta,
    kinds: &Kinds,
) -> (Node, Vec<Violation>) {
    let rewriting = Report::new(written);
    (kind.rewrite)(&mut spec, &cursor_at(&rewriting, spec_path));
    let mut violations = rewriting.finish();

    let root = with_spec(written, &spec, spec_path);
    let checking = Report::new(&root);
    schema::check(&spec, &kinds.schema(kind), &cursor_at(&checking, spec_path));
    let found = checking.finish();

    spec.drop_nulls();
    if let Some(sound) = without_refused(&spec, spec_path, &found) {
        let validating = Report::new(&root);
        (kind.validate)(&sound, meta, &cursor_at(&validating, spec_path));
        let echoes =
            |violation: &Violation| found.iter().any(|cause| violation.path.contains(&cause.path));
        violations.extend(validating.finish().into_iter().filter(|violation| !echoes(violation)));
    }
    violations.extend(found);
    (spec, violations)
}

fn cursor_at<'r>(report: &'r Report<'_>, path: &Path) -> Cursor<'r> {
    path.segments().iter().fold(report.cursor(), |cursor, segment| match segment {
        Segment::Key(key) => cursor.key(key),
        Segment::Index(index) => cursor.index(*index),
    })
}

/// The document as written, but for its spec.
fn with_spec(written: &Node, spec: &Node, spec_path: &Path) -> Node {
    let mut root = written.clone();
    if spec_path.is_root() {
        if let (Some(map), Some(fields)) = (root.as_map_mut(), spec.as_map()) {
            map.retain(|entry| is_envelope(&entry.key));
            for entry in fields {
                map.insert(entry.key.clone(), entry.key_place, entry.node.clone());
            }
        }
    } else if let Some(held) = root.at_mut(spec_path) {
        *held = spec.clone();
    }
    root
}

/// The spec without what the schema refused, so that its other parts can be validated; `None` if too little is left.
fn without_refused(spec: &Node, spec_path: &Path, found: &[Violation]) -> Option<Node> {
    let mut sound = spec.clone();
    for violation in found.iter().filter(|violation| violation.is_refusal()) {
        let below = violation.path.segments().get(spec_path.segments().len()..)?;
        remove(&mut sound, below)?;
    }
    Some(sound)
}

/// Takes out the entry at `path`. A missing one takes out what should hold it, an item its whole list. `None` if that is the root.
fn remove(node: &mut Node, path: &[Segment]) -> Option<()> {
    let (last, parents) = path.split_last()?;
    let parent = Path(parents.to_vec());
    match (node.at_mut(&parent), last) {
        (None, _) => Some(()), // gone with something above it
        (Some(parent), Segment::Key(key)) if parent.get(key).is_some() => {
            parent.as_map_mut()?.remove(key)?;
            Some(())
        }
        _ => remove(node, parents),
    }
}

/// What stands around a spec.
struct Envelope {
    kind: &'static Kind,
    meta: Meta,
    spec: Node,
    spec_path: Path,
}

/// Fields of the universal form that are not the resource's own.
const UNIVERSAL: [&str; 9] =
    ["type", "mesh", "name", "labels", "spec", "creationTime", "modificationTime", "kri", "status"];
/// Fields of the Kubernetes form. `mesh` stood beside `metadata` in older versions.
const KUBERNETES: [&str; 6] = ["apiVersion", "kind", "metadata", "mesh", "spec", "status"];
/// Fields of Kubernetes' metadata that the API server writes, or that are not for us.
const METADATA: [&str; 13] = [
    "name",
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
    "uid",
];

/// Whether a top-level field of a flat kind belongs to the envelope.
fn is_envelope(field: &str) -> bool {
    field != "spec" && UNIVERSAL.contains(&field)
}

impl Envelope {
    fn read(root: &Node, kinds: &Kinds, cursor: &Cursor<'_>) -> Option<Self> {
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
        let (spec, spec_path) = if kind.flat {
            let mut fields = map.clone();
            fields.retain(|entry| !is_envelope(&entry.key));
            (Node::new(place, crate::tree::Value::Map(fields)), Path::root())
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
            schema::refuse_unknown(&entry.key, METADATA, &metadata_cursor.key(&entry.key));
        }
        let name = name(metadata, &metadata_cursor);
        let mut labels = labels(metadata, &metadata_cursor);
        if let Some(namespace) = string(metadata, "namespace", &metadata_cursor) {
            labels.entry(NAMESPACE_LABEL.to_owned()).or_insert(namespace);
        }
        let mesh_label = labels.remove(MESH_LABEL);
        let kind = kind?;
        let mesh = mesh(kind, map, mesh_label, cursor);
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
    let node = map.get(field).filter(|node| !node.is_null())?;
    let text = node.as_str().map(str::to_owned);
    if text.is_none() {
        let message = format!("must be a string, not {}", node.value.describe());
        cursor.at(field).refuse_with_hint(message, "put it in quotes");
    }
    text
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
    if kind.scope == Scope::Global {
        if written.is_some() {
            cursor.at("mesh").warn(format!("has no effect: a {} belongs to no mesh", kind.name));
        }
        return None;
    }
    if let Some(mesh) = &written {
        names::validate_mesh_name(mesh, &cursor.at("mesh"));
    } else if let Some(mesh) = &label {
        let labels = if map.contains("metadata") {
            cursor.at("metadata.labels")
        } else {
            cursor.at("labels")
        };
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
    let text =
        |key: &str| string(written, key, &cursor.clone()).map(|value| (key.to_owned(), value));
    let labels: BTreeMap<_, _> = written.iter().filter_map(|entry| text(&entry.key)).collect();
    names::validate_tags(&labels, &cursor);
    labels
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
            schema::refuse_unknown(&entry.key, envelope.iter().copied(), &cursor);
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
