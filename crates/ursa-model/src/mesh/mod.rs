//! Mesh: a set of proxies and what is shared among them.

mod lifetime;
mod mtls;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::kind::{Kind, Scope, no_rewrite};
use crate::report::Cursor;

pub use lifetime::{Lifetime, LifetimeError};
pub use mtls::{
    AuthorityBackend, AuthorityConf, AuthorityKind, CaCert, DataSource, DpCert, Mtls, MtlsMode,
    Rotation, builtin_secrets,
};

/// A mesh. Kuma's settings are accepted, so that its files apply; but for `mtls`, none of them has an effect yet.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Mesh {
    /// Mutual TLS between the proxies.
    pub mtls: Option<Mtls>,
    /// Tracing backends of Kuma 1.
    pub tracing: Option<Value>,
    /// Logging backends of Kuma 1.
    pub logging: Option<Value>,
    /// Metrics backends of Kuma 1.
    pub metrics: Option<Value>,
    /// Outbound networking.
    pub networking: Option<Value>,
    /// Locality and egress.
    pub routing: Option<Value>,
    /// Who may join.
    pub constraints: Option<Value>,
    /// Whether MeshServices are made.
    pub mesh_services: Option<Value>,
    /// Policies not to make with the mesh.
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
        if let Some(Mesh { mtls: Some(mtls), .. }) = cursor.decode(node) {
            mtls.validate(&cursor.at("mtls"));
        }
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
        "mtls" => {}
        _ => cursor.key(field).warn_if_without_effect(),
    }
}
