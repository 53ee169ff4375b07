//! The parts of a policy: settings for a proxy as a whole, for what comes in, and for what goes out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use ursa_model::document::Document;
use ursa_model::names;
use ursa_model::path::{Path, Segment};
use ursa_model::report::Cursor;
use ursa_model::tree::{Node, Place};

use crate::kind::PolicyKind;
use crate::matches;
use crate::merge::{Origin, Tree};
use crate::source::Source;

/// A part of a policy's spec that holds settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `default`: for a proxy as a whole.
    Default,
    /// `rules`: for what comes in. Each holds beside the others.
    Rules,
    /// `from`: the same as Kuma 2.x writes it. They merge.
    From,
    /// `from`, by client: each is for other clients, and of those whom several mean the stronger is for.
    Clients,
    /// `to`: for what goes out, by destination. They merge.
    To,
    /// `to[].rules`: for some of the requests that go out, by destination. Those of the same requests merge.
    Routes,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 6] =
        [Self::Default, Self::Rules, Self::From, Self::Clients, Self::To, Self::Routes];

    /// The field of the spec.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Rules => "rules",
            Self::From | Self::Clients => "from",
            Self::To | Self::Routes => "to",
        }
    }

    /// What the schema for editors says of a spec that needs one of `parts` at least: one is there, and has an item.
    pub(crate) fn one_of(parts: &[Self]) -> Json {
        let given = parts.iter().map(|part| {
            let field = part.field();
            json!({"required": [field], "properties": {field: {"type": "array", "minItems": 1}}})
        });
        json!({ "anyOf": given.collect::<Vec<_>>() })
    }

    /// Where settings of this part stand in a spec: the node that holds `default`, and its path below the spec.
    pub(crate) fn holders(self, spec: &Node) -> Vec<(Path, &Node)> {
        if self == Self::Default {
            return vec![(Path::root(), spec)];
        }
        let holders = items(spec, &Path::root(), self.field());
        if self == Self::Routes {
            return holders.flat_map(|(path, to)| items(to, &path, "rules")).collect();
        }
        holders.collect()
    }
}

/// The items of a list, with their paths.
fn items<'n>(
    node: &'n Node,
    path: &Path,
    field: &str,
) -> impl Iterator<Item = (Path, &'n Node)> + use<'n> {
    let path = path.key(field);
    let items = node.get(field).and_then(Node::as_list).unwrap_or_default();
    items.iter().enumerate().map(move |(index, item)| (path.index(index), item))
}

/// A destination of requests: `to[].targetRef`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [{
    "if": {"properties": {"kind": {"const": "Mesh"}}},
    "else": {"anyOf": [
        {"required": ["name"], "properties": {"name": {"type": "string"}}},
        {"required": ["labels"], "properties": {"labels": {"type": "object", "minProperties": 1}}},
    ]},
}]))]
pub struct Destination {
    /// What is meant.
    pub kind: DestinationKind,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Kubernetes namespace of what `name` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that it must have; instead of `name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// One of its ports by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

/// The kinds of destinations.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
pub enum DestinationKind {
    /// Whatever it is.
    #[default]
    Mesh,
    /// A service.
    MeshService,
    /// A service outside of the mesh.
    MeshExternalService,
    /// A service of several zones.
    MeshMultiZoneService,
    /// The requests of a route.
    #[serde(rename = "MeshHTTPRoute")]
    MeshHttpRoute,
}

impl DestinationKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::MeshService => "MeshService",
            Self::MeshExternalService => "MeshExternalService",
            Self::MeshMultiZoneService => "MeshMultiZoneService",
            Self::MeshHttpRoute => "MeshHTTPRoute",
        }
    }
}

impl Destination {
    /// Whether requests to the service of that name (`kuma.io/service`) are meant.
    pub fn covers(&self, service: &str) -> bool {
        match self.kind {
            DestinationKind::Mesh => true,
            DestinationKind::MeshService => {
                self.name.as_deref() == Some(service)
                    && self.namespace.is_none()
                    && self.section_name.is_none()
            }
            _ => false,
        }
    }

    /// Whether requests to that service that a route of that name takes are meant.
    pub fn covers_route(&self, service: &str, route: &str) -> bool {
        match self.kind {
            DestinationKind::MeshHttpRoute => {
                self.name.as_deref() == Some(route) && self.namespace.is_none()
            }
            _ => self.covers(service),
        }
    }

    /// Whether all that this means is meant by `other` as well.
    fn is_within(&self, other: &Self) -> bool {
        other.kind == DestinationKind::Mesh || self == other
    }

    /// In words: `Mesh`, `MeshService catalog`.
    pub(crate) fn described(&self) -> String {
        let kind = self.kind.name();
        match &self.name {
            Some(name) => format!("{kind} {name}"),
            None if self.labels.is_empty() => kind.to_owned(),
            None => {
                let labels: Vec<_> =
                    self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{kind} with {}", labels.join(", "))
            }
        }
    }

    /// Reports what the kind does not take, lacks, or what does nothing yet. The cursor stands on the `targetRef`.
    pub(crate) fn validate(&self, cursor: &Cursor<'_>) {
        let kind = self.kind.name();
        let fields = [
            ("name", self.name.is_some()),
            ("namespace", self.namespace.is_some()),
            ("labels", !self.labels.is_empty()),
            ("sectionName", self.section_name.is_some()),
        ];
        if self.kind == DestinationKind::Mesh {
            for (field, _) in fields.iter().filter(|(_, given)| *given) {
                cursor.at(field).refuse(format!("kind {kind} takes no `{field}`"));
            }
            return;
        }
        if (self.name.is_some() || self.namespace.is_some()) && !self.labels.is_empty() {
            cursor.at("labels").refuse("`labels` and `name` exclude each other; keep one");
        }
        if self.name.is_none() && self.labels.is_empty() {
            cursor.refuse(format!("kind {kind} needs a `name` or `labels`"));
        }
        for (field, value) in [
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("sectionName", &self.section_name),
        ] {
            if value.as_ref().is_some_and(String::is_empty) {
                cursor.at(field).refuse("must not be empty");
            }
        }
        names::validate_labels(&self.labels, &cursor.at("labels"));
        if self.kind == DestinationKind::MeshHttpRoute {
            if self.name.is_none() || self.namespace.is_some() {
                cursor.warn("means nothing yet: only the MeshHTTPRoute of that `name` does");
            }
        } else if self.kind != DestinationKind::MeshService {
            cursor.at("kind").warn(format!("{kind} means nothing yet"));
        } else if self.name.is_none() || self.namespace.is_some() || self.section_name.is_some() {
            cursor.warn(
                "means nothing yet: only the service whose tag `kuma.io/service` is the `name` does",
            );
        }
    }
}

/// Settings of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// What they are for.
    pub scope: Scope,
    /// What they say.
    pub settings: Tree,
}

/// What settings are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A proxy as a whole.
    Proxy,
    /// What comes in, beside other rules. The number of the rule.
    Rule(usize),
    /// What comes in.
    Inbound,
    /// What comes in from some clients.
    Clients(Source),
    /// What goes out.
    Outbound(Destination),
}

/// The sections of an accepted policy, which came from `file` if it came from one.
pub(crate) fn sections(document: &Document, file: Option<&str>) -> Vec<Section> {
    let spec = &document.spec;
    let mut sections = Vec::new();
    let parts = PolicyKind::by_name(&document.key.kind).map_or(&[][..], PolicyKind::parts);
    for part in parts.iter().copied() {
        for (index, (path, holder)) in part.holders(spec).into_iter().enumerate() {
            let Some(settings) = holder.as_map().and_then(|map| map.entry("default")) else {
                continue;
            };
            let scope = match part {
                Part::Routes => to_of(spec, &path).and_then(target_of).map(Scope::Outbound),
                part => scope(part, index, holder),
            };
            let Some(scope) = scope else { continue };
            let mut settings = tree(document, file, &path.key("default"), &settings.node);
            if part == Part::Routes {
                let Some(matches) = holder.get("matches") else { continue };
                let written = tree(document, file, &path.key("matches"), matches);
                settings = settings.of_requests(&matches::described(matches), written);
            }
            sections.push(Section { scope, settings });
        }
    }
    sections
}

/// The item of `to` that a rule at `path` is in.
fn to_of<'n>(spec: &'n Node, path: &Path) -> Option<&'n Node> {
    let Some(Segment::Index(index)) = path.segments().get(1) else { return None };
    spec.get("to")?.as_list()?.get(*index)
}

fn tree(document: &Document, file: Option<&str>, path: &Path, node: &Node) -> Tree {
    let origin = Origin {
        policy: document.key.clone(),
        file: file.map(str::to_owned),
        place: node.place,
        path: Path::root().key("spec").join(path),
    };
    Tree::of(node, origin)
}

/// What the settings in `holder` are for; `None` if that does nothing yet.
fn scope(part: Part, index: usize, holder: &Node) -> Option<Scope> {
    match part {
        Part::Default => Some(Scope::Proxy),
        Part::Rules => holder
            .get("matches")
            .and_then(Node::as_list)
            .is_none_or(<[Node]>::is_empty)
            .then_some(Scope::Rule(index)),
        Part::From => Some(Scope::Inbound),
        Part::Clients => target_of(holder).map(Scope::Clients),
        Part::To => target_of(holder).map(Scope::Outbound),
        Part::Routes => None,
    }
}

/// The `targetRef` of `from` or `to`, or what holds where there is none.
fn target_of<T: Default + DeserializeOwned>(holder: &Node) -> Option<T> {
    match holder.get("targetRef").map(Node::to_json) {
        None => Some(T::default()),
        Some(target) => serde_json::from_value(target).ok(),
    }
}

/// What is said of requests to the service of that name, weakest first. Of destinations the narrower is stronger, whatever the policies' targets;
/// of one destination the later.
pub(crate) fn to_service<'t>(
    sections: impl Iterator<Item = &'t Section>,
    service: &str,
) -> Vec<&'t Tree> {
    layers(sections, |destination| destination.covers(service))
}

/// What is said of requests to that service that the route of that name takes, weakest first.
pub(crate) fn to_route<'t>(
    sections: impl Iterator<Item = &'t Section>,
    service: &str,
    route: &str,
) -> Vec<&'t Tree> {
    layers(sections, |destination| destination.covers_route(service, route))
}

/// The same of all that `wanted` means.
pub(crate) fn to_destination<'t>(
    sections: impl Iterator<Item = &'t Section>,
    wanted: &Destination,
) -> Vec<&'t Tree> {
    layers(sections, |destination| wanted.is_within(destination))
}

fn layers<'t>(
    sections: impl Iterator<Item = &'t Section>,
    covers: impl Fn(&Destination) -> bool,
) -> Vec<&'t Tree> {
    let mut layers: Vec<_> = sections
        .filter_map(|section| match &section.scope {
            Scope::Outbound(destination) if covers(destination) => {
                Some((destination.kind, &section.settings))
            }
            _ => None,
        })
        .collect();
    layers.sort_by_key(|(kind, _)| *kind);
    layers.into_iter().map(|(_, settings)| settings).collect()
}

/// An empty mapping, for settings that are not there.
pub(crate) fn nothing() -> Node {
    Node::empty_map(Place::START)
}
