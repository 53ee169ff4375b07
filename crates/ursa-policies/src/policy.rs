//! One policy, read and ready to be selected and merged.

use std::collections::BTreeMap;

use ursa_model::document::Document;
use ursa_model::key::ResourceKey;
use ursa_model::target_ref::TargetRef;

use crate::kind::{self, PolicyKind};
use crate::merge::Tree;
use crate::part::{self, Scope, Section};

/// The label of a policy that is computed and shown, and never applied, when its value is [`SHADOW`].
pub use ursa_model::document::{EFFECT_LABEL, SHADOW};

/// A policy resource that was accepted.
#[derive(Clone, Debug)]
pub struct PolicyResource {
    /// Its name.
    pub key: ResourceKey,
    /// Its labels; `kuma.io/origin`, `kuma.io/zone`, `kuma.io/policy-role` and `kuma.io/display-name` have a meaning here.
    pub labels: BTreeMap<String, String>,
    /// What it selects.
    pub target: TargetRef,
    kind: &'static PolicyKind,
    sections: Vec<Section>,
}

impl PolicyResource {
    /// Reads an accepted document, which came from `file` if it came from one. `None` if its kind is not a policy.
    pub fn from_document(document: &Document, file: Option<&str>) -> Option<Self> {
        let kind = PolicyKind::by_name(&document.key.kind)?;
        let target = kind::target(&document.spec)?;
        Some(Self {
            key: document.key.clone(),
            labels: document.meta.labels.clone(),
            target,
            kind,
            sections: part::sections(document, file),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> &'static PolicyKind {
        self.kind
    }

    /// What its `default` says, if it has one.
    pub fn settings(&self) -> Option<&Tree> {
        let own = self.sections.iter().find(|section| section.scope == Scope::Proxy);
        own.map(|section| &section.settings)
    }

    /// What it says, and for what.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// Whether it is only to be looked at: label `kuma.io/effect: shadow`.
    pub fn is_shadow(&self) -> bool {
        self.label(EFFECT_LABEL) == Some(SHADOW)
    }

    /// The name that people gave it: in Kubernetes and across zones a label keeps it.
    pub fn display_name(&self) -> &str {
        self.label("kuma.io/display-name").unwrap_or(&self.key.name)
    }

    /// Whether it does the same as `other`, wherever in its file each value stands.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.key == other.key
            && self.labels == other.labels
            && self.target == other.target
            && self.sections.len() == other.sections.len()
            && self.sections.iter().zip(&other.sections).all(|(own, other)| {
                own.scope == other.scope && own.settings.to_json() == other.settings.to_json()
            })
    }
}
