//! Documents: resources as they are written in files and sent to the API.
//!
//! Two envelopes are read. The universal form has `type`, `mesh`, `name`, `labels`, and then `spec` or, of flat kinds, the fields themselves. The
//! Kubernetes form has `apiVersion`, `kind`, `metadata` and `spec`; the mesh is the label `kuma.io/mesh`, the namespace becomes a label.

use std::collections::{BTreeMap, HashMap};

use schemars::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::envelope::{Envelope, is_envelope};
use crate::key::ResourceKey;
use crate::kind::Kinds;
use crate::path::{Path, Segment};
use crate::report::{Cursor, Report, Severity, Violation};
use crate::schema;
use crate::tree::{Node, Place, Value};
use crate::yaml::{self, MAX_TEXT, Source};

/// The mesh of resources that name none.
pub const DEFAULT_MESH: &str = "default";
/// The label that names the mesh in the Kubernetes form.
pub const MESH_LABEL: &str = "kuma.io/mesh";
/// The label that holds `metadata.namespace`.
pub const NAMESPACE_LABEL: &str = "k8s.kuma.io/namespace";
/// After how many refusals the rest of a text is not looked at.
pub const MAX_REFUSALS: usize = 1000;
/// The label of a policy that says whether it is applied.
pub const EFFECT_LABEL: &str = "kuma.io/effect";
/// The value of [`EFFECT_LABEL`] for policies that are computed and shown, and never applied.
pub const SHADOW: &str = "shadow";
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
    /// The typed spec. It fits the type of its own kind.
    ///
    /// # Errors
    /// When `T` is the type of another kind.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(self.spec.to_json())
    }

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

/// Reads all documents of a text: YAML or JSON, both envelopes. Empty documents are skipped. Beyond [`MAX_REFUSALS`] the rest is left unread.
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
    let mut refusals = 0;
    for (index, source) in yaml::split(text).into_iter().enumerate() {
        if refusals >= MAX_REFUSALS {
            break;
        }
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
        refusals += violations.iter().filter(|violation| violation.is_refusal()).count();
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
    let Some(mut envelope) = envelope else { return (None, violations) };
    let found = canonical(&root, &mut envelope, &violations, kinds);
    violations.extend(found);
    let Envelope { kind, meta, spec, .. } = envelope;
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

/// Brings the spec into canonical spelling, and returns all that is wrong with it. `before` is what is wrong around it.
fn canonical(
    written: &Node,
    envelope: &mut Envelope,
    before: &[Violation],
    kinds: &Kinds,
) -> Vec<Violation> {
    let Envelope { kind, meta, spec, spec_path } = envelope;
    let rewriting = Report::new(written);
    (kind.rewrite)(spec, &cursor_at(&rewriting, spec_path));
    let mut violations = rewriting.finish();

    let root = with_spec(written, spec, spec_path);
    let checking = Report::new(&root);
    schema::check(spec, &kinds.schema(kind), &cursor_at(&checking, spec_path));
    let found = checking.finish();

    spec.drop_nulls();
    if spec.as_map().is_some() {
        let (sound, stand_ins) = without_refused(spec, spec_path, &found, &kinds.schema(kind));
        let validating = Report::new(&root);
        (kind.validate)(&sound, meta, &cursor_at(&validating, spec_path));
        let echoes = |Violation { path, .. }: &Violation| {
            found.iter().any(|cause| path.contains(&cause.path) || cause.path.contains(path))
                || stand_ins.iter().any(|stand_in| stand_in.contains(path))
                || is_emptied(written, path, &[before, &found])
        };
        violations.extend(validating.finish().into_iter().filter(|violation| !echoes(violation)));
    }
    violations.extend(found);
    violations
}

/// Whether `path` is below a field that is empty as written, because what belongs into it was refused beside it.
fn is_emptied(written: &Node, path: &Path, found: &[&[Violation]]) -> bool {
    let above = std::iter::successors(path.parent(), Path::parent);
    let mut empty = above.filter(|path| written.at(path).is_some_and(Node::is_null));
    empty.any(|empty| {
        let beside = |cause: &Violation| cause.path.parent() == empty.parent();
        found.iter().copied().flatten().any(beside)
    })
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

/// The spec without what the schema refused, so that its other parts can be validated; and the paths of what only stands in for something.
pub(crate) fn without_refused(
    spec: &Node,
    spec_path: &Path,
    found: &[Violation],
    schema: &Schema,
) -> (Node, Vec<Path>) {
    let mut sound = spec.clone();
    for violation in found.iter().filter(|violation| violation.is_refusal()) {
        let below = violation.path.segments().get(spec_path.segments().len()..);
        if let Some((last, parents)) = below.and_then(<[_]>::split_last) {
            remove(&mut sound, parents, last);
        }
    }
    let stand_ins = schema::fill_in(&mut sound, schema, spec_path);
    (sound, stand_ins)
}

/// Takes out an entry; of a list's item the place stays, for those behind it.
fn remove(node: &mut Node, parents: &[Segment], last: &Segment) {
    let Some(parent) = node.at_mut(&Path(parents.to_vec())) else { return };
    match last {
        Segment::Key(key) => {
            parent.as_map_mut().and_then(|map| map.remove(key));
        }
        Segment::Index(index) => {
            if let Some(item) = parent.as_list_mut().and_then(|items| items.get_mut(*index)) {
                item.value = Value::Null;
            }
        }
    }
}
