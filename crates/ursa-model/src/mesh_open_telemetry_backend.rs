//! MeshOpenTelemetryBackend: an OTLP backend that policies of every signal refer to.

use schemars::schema_for;

use crate::backend::OpenTelemetryBackend;
use crate::kind::{Kind, Scope, no_rewrite};

/// The spec is the backend itself.
pub type MeshOpenTelemetryBackend = OpenTelemetryBackend;

/// The kind.
pub static KIND: Kind = Kind {
    name: "MeshOpenTelemetryBackend",
    plural: "meshopentelemetrybackends",
    short: &["motb"],
    scope: Scope::Mesh,
    flat: false,
    policy: false,
    schema: || schema_for!(OpenTelemetryBackend),
    rewrite: no_rewrite,
    validate: |node, _, cursor| {
        if let Some(backend) = cursor.decode::<OpenTelemetryBackend>(node) {
            backend.validate(cursor);
        }
    },
};
