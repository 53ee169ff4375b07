//! Observability for Envoy meshes.
fn main() {}
