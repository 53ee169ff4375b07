//! Mesh: a set of proxies and what is shared among them.

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{Kind, Scope, no_rewrite};
use crate::report::Cursor;

/// A mesh. Kuma's settings are accepted, so that its files apply; none of them has an effect yet.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Mesh {
    /// Certificates of the proxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Value>,
    /// Tracing backends of Kuma 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Value>,
    /// Logging backends of Kuma 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Value>,
    /// Metrics backends of Kuma 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Value>,
    /// Outbound networking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networking: Option<Value>,
    /// Locality and egress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing: Option<Value>,
    /// Who may join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Value>,
    /// Whether MeshServices are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_services: Option<Value>,
    /// Policies not to make with the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_creating_initial_policies: Option<Value>,
}

/// The kind.
pub static KIND: Kind = Kind {
    name: "Mesh",
    plural: "meshes",
    short: &["m"],
    scope: Scope::Global,
    flat: true,
    policy: false,
    schema: || schema_for!(Mesh),
    rewrite: no_rewrite,
    validate: |node, _, cursor| {
        for entry in node.as_map().into_iter().flatten() {
            warn_without_effect(&entry.key, cursor);
        }
    },
};

fn warn_without_effect(field: &str, cursor: &Cursor<'_>) {
    match field {
        "tracing" | "logging" | "metrics" => cursor.key(field).warn_with_hint(
            "has no effect: policies took its place",
            "write a MeshTrace, a MeshAccessLog or a MeshMetric",
        ),
        _ => cursor.key(field).warn_if_without_effect(),
    }
}
