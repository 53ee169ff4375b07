//! The resources that are not policies: parsing, violations with places, schemas.
//!
//! A text becomes a [`tree::Node`] that knows where everything stands ([`yaml`]), then a [`document::Document`] of a known [`kind::Kind`]:
//! accepted spellings are rewritten, the [`schema`] is checked, the kind's own rules are. All that is wrong is reported at once
//! ([`report`]), each [`report::Violation`] with its path, its place and a hint.
//!
//! Not here: files, sockets, clocks, Envoy, and what policies mean. The kinds of policies are in `ursa-policies`, made of the same parts.

mod authority;
pub mod backend;
pub mod crd;
pub mod dataplane;
pub mod document;
pub mod duration;
mod envelope;
pub mod gateway;
pub mod identity;
pub mod key;
pub mod kind;
pub mod mesh;
pub mod mesh_open_telemetry_backend;
pub mod mesh_trace_backend;
pub mod names;
pub mod path;
pub mod percent;
pub mod pipeline;
pub mod report;
pub mod schema;
pub mod secret;
pub mod secret_text;
pub mod size;
pub mod substitution;
pub mod suggest;
pub mod target_ref;
pub mod template;
pub mod tracing_file;
pub mod tree;
pub mod yaml;

pub use authority::Authority;
pub use key::{ProxyId, ResourceKey};
pub use secret_text::SecretText;

/// The kinds that are not policies.
pub fn kinds() -> kind::Kinds {
    kind::Kinds::new([
        &mesh::KIND,
        &dataplane::KIND,
        &mesh_trace_backend::KIND,
        &mesh_open_telemetry_backend::KIND,
        &secret::KIND,
    ])
}
