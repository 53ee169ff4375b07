//! Kinds of resources: their names, their shape, and what is refused.

use std::sync::OnceLock;

use schemars::Schema;

use crate::document::Meta;
use crate::report::Cursor;
use crate::tree::Node;

/// Where resources of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Outside all meshes.
    Global,
    /// In one mesh.
    Mesh,
}

/// One kind of resource.
#[derive(Debug)]
pub struct Kind {
    /// The name in documents, for example `MeshTrace`.
    pub name: &'static str,
    /// The name in REST paths, for example `meshtraces`.
    pub plural: &'static str,
    /// Further names on the command line, for example `mt`.
    pub short: &'static [&'static str],
    /// Whether resources of this kind belong to a mesh.
    pub scope: Scope,
    /// Whether the fields stand at top level instead of under `spec` (Kuma's older kinds).
    pub flat: bool,
    /// Whether this is a policy: it has a `targetRef` and settings that merge.
    pub policy: bool,
    /// The schema of the spec, or of the flat fields. Objects in it are closed unless they say otherwise.
    pub schema: fn() -> Schema,
    /// Turns accepted spellings into the canonical ones. The cursor stands on the spec as it was written.
    pub rewrite: fn(&mut Node, &Cursor<'_>),
    /// Reports what the schema cannot say, and warns about fields without effect. The node is the canonical spec, checked against the schema;
    /// fields that the schema refused are left out of it.
    pub validate: fn(&Node, &Meta, &Cursor<'_>),
}

impl Kind {
    /// Whether `name` is the kind's name, plural or short name; letters' case does not matter.
    pub fn answers_to(&self, name: &str) -> bool {
        [self.name, self.plural].iter().chain(self.short).any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// For [`Kind::rewrite`] of a kind with one spelling only.
pub fn no_rewrite(_: &mut Node, _: &Cursor<'_>) {}

/// A set of kinds, in a fixed order.
#[derive(Debug, Default)]
pub struct Kinds {
    entries: Vec<(&'static Kind, OnceLock<Schema>)>,
}

impl Kinds {
    /// The set of `kinds`.
    pub fn new(kinds: impl IntoIterator<Item = &'static Kind>) -> Self {
        Self { entries: kinds.into_iter().map(|kind| (kind, OnceLock::new())).collect() }
    }

    /// The kind of that name, plural or short name; letters' case does not matter.
    pub fn by_name(&self, name: &str) -> Option<&'static Kind> {
        self.iter().find(|kind| kind.answers_to(name))
    }

    /// The kind of exactly that name, as documents must write it.
    pub fn by_exact_name(&self, name: &str) -> Option<&'static Kind> {
        self.iter().find(|kind| kind.name == name)
    }

    /// All kinds in order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Kind> + '_ {
        self.entries.iter().map(|(kind, _)| *kind)
    }

    /// These kinds and then `others`.
    #[must_use]
    pub fn and(&self, others: impl IntoIterator<Item = &'static Kind>) -> Self {
        Self::new(self.iter().chain(others))
    }

    /// The schema of `kind`, made once if the kind is of this set.
    pub(crate) fn schema(&self, kind: &'static Kind) -> std::borrow::Cow<'_, Schema> {
        match self.entries.iter().find(|(own, _)| std::ptr::eq(*own, kind)) {
            Some((_, schema)) => std::borrow::Cow::Borrowed(schema.get_or_init(kind.schema)),
            None => std::borrow::Cow::Owned((kind.schema)()),
        }
    }
}
