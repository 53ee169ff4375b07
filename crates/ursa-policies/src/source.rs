//! Who calls, as a policy's `from` says it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_model::dataplane::SERVICE_TAG;
use ursa_model::names;
use ursa_model::report::Cursor;

/// Clients: `from[].targetRef`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [{
    "if": {"properties": {"kind": {"enum": ["MeshService", "MeshServiceSubset"]}}},
    "then": {"required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}},
    "else": {"properties": {"name": {"type": "null"}, "namespace": {"type": "null"}}},
}, {
    "if": {"properties": {"kind": {"enum": ["Mesh", "MeshService"]}}},
    "then": {"properties": {"tags": {"enum": [null, {}]}}},
}]))]
pub struct Source {
    /// What is meant.
    pub kind: SourceKind,
    /// The service's name (`kuma.io/service`).
    #[serde(default)]
    pub name: Option<String>,
    /// The Kubernetes namespace of what `name` names.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Tags that the client has, all of them; the value `*` is any.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// The kinds of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
pub enum SourceKind {
    /// Whoever it is.
    #[default]
    Mesh,
    /// Those with all the tags.
    MeshSubset,
    /// A service.
    MeshService,
    /// Those of a service that have all the tags.
    MeshServiceSubset,
}

impl SourceKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::MeshSubset => "MeshSubset",
            Self::MeshService => "MeshService",
            Self::MeshServiceSubset => "MeshServiceSubset",
        }
    }
}

impl Source {
    /// The tags of whom is meant, its service among them. Empty: everyone.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let service = self.name.iter().map(|name| (SERVICE_TAG.to_owned(), name.clone()));
        self.tags.clone().into_iter().chain(service).collect()
    }

    /// In words: `Mesh`, `MeshService orders`, `MeshSubset with team=core`.
    pub(crate) fn described(&self) -> String {
        let mut words = self.kind.name().to_owned();
        if let Some(name) = &self.name {
            words = format!("{words} {name}");
        }
        if !self.tags.is_empty() {
            let tags: Vec<_> =
                self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            words = format!("{words} with {}", tags.join(", "));
        }
        words
    }

    /// Reports what the kind does not take or lacks. The cursor stands on the `targetRef`.
    pub(crate) fn validate(&self, cursor: &Cursor<'_>) {
        let kind = self.kind.name();
        let refuse = |given: bool, field: &str| {
            if given {
                cursor.at(field).refuse(format!("kind {kind} takes no `{field}`"));
            }
        };
        let by_name = matches!(self.kind, SourceKind::MeshService | SourceKind::MeshServiceSubset);
        if by_name {
            match self.name.as_deref() {
                None => cursor.refuse(format!("kind {kind} needs a `name`")),
                Some("") => cursor.at("name").refuse("must not be empty"),
                Some(_) => {}
            }
            if self.namespace.is_some() {
                cursor.at("namespace").warn(
                    "has no effect: the service is the one whose tag `kuma.io/service` is the name",
                );
            }
        } else {
            refuse(self.name.is_some(), "name");
            refuse(self.namespace.is_some(), "namespace");
        }
        if matches!(self.kind, SourceKind::Mesh | SourceKind::MeshService) {
            refuse(!self.tags.is_empty(), "tags");
        }
        names::validate_tags(&self.tags, &cursor.at("tags"));
    }
}
