//! Accepted spellings of a MeshAccessLog's settings, turned into the canonical ones.

use ursa_model::percent;
use ursa_model::tree::Node;

use crate::spelling::{reference_to_backend_ref, say_form};

/// The forms of a backend and the `type` that says so.
const TYPES: [(&str, &str); 3] =
    [("file", "File"), ("tcp", "Tcp"), ("openTelemetry", "OpenTelemetry")];

/// The node is the `default` of a part.
pub(super) fn rewrite(settings: &mut Node) {
    for backend in settings.get_mut("backends").and_then(Node::as_list_mut).into_iter().flatten() {
        let Some(backend) = backend.as_map_mut() else { continue };
        backend.get_mut("sample").into_iter().for_each(percent::rewrite);
        reference_to_backend_ref(backend);
        say_form(backend, &TYPES);
    }
}
