//! What a policy selects: `targetRef`, at the top level of every policy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names;
use crate::report::Cursor;
use crate::tree::{Node, Value};

/// A reference to the proxies, or the routes, that a policy applies to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [
    {
        "if": {"properties": {"kind": {"enum": ["MeshService", "MeshServiceSubset", "MeshGateway"]}}},
        "then": {"required": ["name"], "properties": {"name": {"not": {"type": "null"}}}},
    },
    {
        "if": {"properties": {"kind": {"enum": ["MeshHTTPRoute", "MeshGatewayRoute", "MeshTrafficRoute"]}}},
        "then": {"anyOf": [
            {"required": ["name"], "properties": {"name": {"not": {"type": "null"}}}},
            {"required": ["labels"], "properties": {"labels": {"not": {"enum": [null, {}]}}}},
        ]},
    },
    {
        "if": {"properties": {"kind": {"enum": ["Mesh", "MeshSubset"]}}},
        "then": {"properties": {"name": {"type": "null"}, "namespace": {"type": "null"}, "labels": {"enum": [null, {}]}}},
        "else": {"properties": {"proxyTypes": {"type": "null"}}},
    },
]))]
pub struct TargetRef {
    /// What is selected.
    pub kind: TargetKind,
    /// The name of the service, gateway, route or Dataplane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Kubernetes namespace of what `name` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Tags that one and the same inbound, or a gateway's listener, must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Labels that the Dataplane or route must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// One inbound by its port's name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Narrows to sidecars or gateways. Unset: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub proxy_types: Option<Vec<ProxyType>>,
}

/// The kinds of things a policy can select.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[schemars(extend("x-accepts" = [{"enum": ["MeshGatewayRoute", "MeshTrafficRoute"]}]))]
pub enum TargetKind {
    /// Every proxy of the mesh.
    #[default]
    Mesh,
    /// Proxies with an inbound that has all the tags.
    MeshSubset,
    /// Proxies with an inbound of that service.
    MeshService,
    /// Proxies with an inbound of that service that has all the tags.
    MeshServiceSubset,
    /// Proxies by name or by labels.
    Dataplane,
    /// A built-in gateway, its listeners by tag.
    MeshGateway,
    /// The routes that a resource creates. `MeshGatewayRoute` and `MeshTrafficRoute` are other names of it.
    #[serde(rename = "MeshHTTPRoute", alias = "MeshGatewayRoute", alias = "MeshTrafficRoute")]
    MeshHttpRoute,
}

impl TargetKind {
    /// The name as written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::MeshSubset => "MeshSubset",
            Self::MeshService => "MeshService",
            Self::MeshServiceSubset => "MeshServiceSubset",
            Self::Dataplane => "Dataplane",
            Self::MeshGateway => "MeshGateway",
            Self::MeshHttpRoute => "MeshHTTPRoute",
        }
    }
}

/// What a proxy is beside.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ProxyType {
    /// A workload.
    Sidecar,
    /// Nothing: it is the way into the mesh.
    Gateway,
}

/// What a kind of policy allows in its `targetRef`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetRules {
    /// Whether one inbound may be selected: true of policies with inbound rules.
    pub section_name: bool,
}

impl TargetRef {
    /// Whether routes are selected rather than proxies.
    pub fn is_route(&self) -> bool {
        self.kind == TargetKind::MeshHttpRoute
    }

    /// Reports fields that the kind does not take, lacks, or that exclude each other. The cursor stands on the `targetRef`.
    pub fn validate(&self, rules: TargetRules, cursor: &Cursor<'_>) {
        use TargetKind::{
            Dataplane, Mesh, MeshGateway, MeshHttpRoute, MeshService, MeshServiceSubset, MeshSubset,
        };

        let kind = self.kind.name();
        let refuse = |given: bool, field: &str, takes: &[TargetKind]| {
            if given && !takes.contains(&self.kind) {
                cursor.at(field).refuse(format!("kind {kind} takes no `{field}`"));
            }
        };
        let named = [Dataplane, MeshGateway, MeshHttpRoute, MeshService, MeshServiceSubset];
        refuse(self.name.is_some(), "name", &named);
        refuse(self.namespace.is_some(), "namespace", &named);
        refuse(!self.labels.is_empty(), "labels", &[Dataplane, MeshHttpRoute]);
        refuse(!self.tags.is_empty(), "tags", &[MeshGateway, MeshServiceSubset, MeshSubset]);
        refuse(self.proxy_types.is_some(), "proxyTypes", &[Mesh, MeshSubset]);
        refuse(self.section_name.is_some(), "sectionName", &[Dataplane]);

        if self.kind == Dataplane && self.section_name.is_some() && !rules.section_name {
            cursor.at("sectionName").refuse_with_hint(
                "this policy applies to a proxy as a whole, not to one inbound",
                "leave `sectionName` out",
            );
        }
        let by_name = self.name.is_some() || self.namespace.is_some();
        if matches!(self.kind, Dataplane | MeshHttpRoute) && by_name && !self.labels.is_empty() {
            cursor.at("labels").refuse("`labels` and `name` exclude each other; keep one");
        }
        match self.kind {
            MeshService | MeshServiceSubset | MeshGateway if self.name.is_none() => {
                cursor.at("name").refuse(format!("kind {kind} needs a `name`"));
            }
            MeshHttpRoute if self.name.is_none() && self.labels.is_empty() => {
                cursor.refuse(format!("kind {kind} needs a `name` or `labels`"));
            }
            _ => {}
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
        if self.proxy_types.as_ref().is_some_and(Vec::is_empty) {
            cursor
                .at("proxyTypes")
                .refuse_with_hint("selects no proxy", "leave it out to select all");
        }
        names::validate_tags(&self.tags, &cursor.at("tags"));
        names::validate_labels(&self.labels, &cursor.at("labels"));
    }
}

/// Turns accepted kinds into the canonical ones. The node is the `targetRef`.
pub fn rewrite(target: &mut Node) {
    if let Some(kind) = target.get_mut("kind")
        && matches!(kind.as_str(), Some("MeshGatewayRoute" | "MeshTrafficRoute"))
    {
        kind.value = Value::String(TargetKind::MeshHttpRoute.name().to_owned());
    }
}
