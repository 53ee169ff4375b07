//! Collecting all that is wrong, each with its path, its place and what would be right.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::path::{Path, Segment};
use crate::tree::{Node, Place};

/// What a violation does to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is not accepted.
    Refused,
    /// The document is accepted; the writer should know.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Whether it refuses the document.
    pub severity: Severity,
    /// Which of the text's documents, from 0; empty ones are not counted.
    pub document: usize,
    /// The field. Empty when the document as a whole is meant.
    pub path: Path,
    /// Where it stands in the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Violation {
    /// Whether it refuses the document.
    pub fn is_refusal(&self) -> bool {
        self.severity == Severity::Refused
    }
}

/// `line:column path: message`, each part as far as known. The hint is left to whoever shows it.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place} ")?;
        }
        if !self.path.is_root() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// How many violations of one document are kept; whoever has more to repair will ask again.
pub const MAX_VIOLATIONS: usize = 100;

/// Collects violations of one document, at most [`MAX_VIOLATIONS`].
#[derive(Debug)]
pub struct Report<'a> {
    root: &'a Node,
    violations: RefCell<Vec<Violation>>,
}

impl<'a> Report<'a> {
    /// An empty report; paths begin at `root`.
    pub fn new(root: &'a Node) -> Self {
        Self { root, violations: RefCell::default() }
    }

    /// The field at `path`, for example `spec.default.backends[0]`; it need not exist.
    pub fn at(&self, path: &str) -> Cursor<'_> {
        self.cursor().at(path)
    }

    /// The root.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { root: self.root, violations: &self.violations, path: Path::root() }
    }

    /// Whether anything so far refuses the document.
    pub fn refuses(&self) -> bool {
        self.violations.borrow().iter().any(Violation::is_refusal)
    }

    /// All violations by place; those of one place stay in the order they were found.
    pub fn finish(self) -> Vec<Violation> {
        let mut violations = self.violations.into_inner();
        violations.sort_by_key(|violation| violation.place);
        violations
    }
}

/// One field of the document reported on. Cheap to make, and free of its parent's borrow, so that several may be held.
#[derive(Debug, Clone)]
pub struct Cursor<'r> {
    root: &'r Node,
    violations: &'r RefCell<Vec<Violation>>,
    path: Path,
}

impl<'r> Cursor<'r> {
    /// A field below this one, for example `tags[0].literal`. A text that is not a path is taken for one key.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        let rest = path.parse().unwrap_or_else(|_| Path(vec![Segment::Key(path.to_owned())]));
        Self { path: self.path.join(&rest), ..*self }
    }

    /// The entry `key` of this mapping, whatever characters the key has.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { path: self.path.key(key), ..*self }
    }

    /// The item `index` of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self { path: self.path.index(index), ..*self }
    }

    /// The field's path from the document's root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written there, if anything.
    pub fn node(&self) -> Option<&'r Node> {
        self.root.at(&self.path)
    }

    /// Refuses the document because of this field.
    pub fn refuse(&self, message: impl Into<String>) {
        self.add(Severity::Refused, message.into(), None);
    }

    /// Refuses the document because of this field, and says what to do.
    pub fn refuse_with_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Refused, message.into(), Some(hint.into()));
    }

    /// Warns about this field.
    pub fn warn(&self, message: impl Into<String>) {
        self.add(Severity::Warning, message.into(), None);
    }

    /// Warns about this field, and says what to do.
    pub fn warn_with_hint(&self, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, message.into(), Some(hint.into()));
    }

    /// Warns that this field, if it was written, is accepted and does nothing yet.
    pub fn warn_if_without_effect(&self) {
        if self.node().is_some_and(|node| !node.is_null()) {
            self.warn("has no effect yet");
        }
    }

    /// The typed value of `node`, which has passed its schema. What the schema could not see is refused here.
    pub fn decode<T: DeserializeOwned>(&self, node: &Node) -> Option<T> {
        serde_json::from_value(node.to_json()).map_err(|error| self.refuse(error.to_string())).ok()
    }

    /// Whether no further violation is kept.
    pub fn is_full(&self) -> bool {
        self.violations.borrow().len() >= MAX_VIOLATIONS
    }

    fn add(&self, severity: Severity, message: String, hint: Option<String>) {
        if self.is_full() {
            return;
        }
        let place = Some(self.root.place_of(&self.path));
        let violation =
            Violation { severity, document: 0, path: self.path.clone(), place, message, hint };
        self.violations.borrow_mut().push(violation);
    }
}
