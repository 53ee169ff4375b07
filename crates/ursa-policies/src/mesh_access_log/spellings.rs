//! Accepted spellings of a MeshAccessLog's settings, turned into the canonical ones.

use ursa_model::percent;
use ursa_model::tree::{Map, Node, Value};

/// The forms of a backend and the `type` that says so.
const TYPES: [(&str, &str); 3] =
    [("file", "File"), ("tcp", "Tcp"), ("openTelemetry", "OpenTelemetry")];

/// The node is the `default` of a part.
pub(super) fn rewrite(settings: &mut Node) {
    for backend in settings.get_mut("backends").and_then(Node::as_list_mut).into_iter().flatten() {
        let Some(backend) = backend.as_map_mut() else { continue };
        backend.get_mut("sample").into_iter().for_each(percent::rewrite);
        reference_to_backend_ref(backend);
        let set: Vec<_> = TYPES
            .iter()
            .filter_map(|(field, name)| Some((backend.entry(field)?.key_place, name)))
            .collect();
        if let [(place, name)] = set[..]
            && !backend.contains("type")
        {
            backend.insert("type", place, Node::new(place, Value::String((*name).to_owned())));
        }
    }
}

/// `reference` to a MeshOpenTelemetryBackend is `openTelemetry.backendRef`, in all policies.
fn reference_to_backend_ref(backend: &mut Map) {
    let kind = backend.get("reference").and_then(|node| node.get("kind")).and_then(Node::as_str);
    if kind == Some("MeshOpenTelemetryBackend")
        && !backend.contains("openTelemetry")
        && let Some(entry) = backend.remove("reference")
    {
        let mut inside = Map::new();
        let place = entry.node.place;
        inside.insert("backendRef", entry.key_place, entry.node);
        backend.insert("openTelemetry", entry.key_place, Node::new(place, Value::Map(inside)));
    }
}
