//! Spellings of a backend that every kind of policy accepts.

use ursa_model::tree::{Map, Node, Value};

/// `reference` to a MeshOpenTelemetryBackend is `openTelemetry.backendRef`.
pub(crate) fn reference_to_backend_ref(backend: &mut Map) {
    if refers_to(backend.get("reference"), "MeshOpenTelemetryBackend")
        && !backend.contains("openTelemetry")
        && let Some(entry) = backend.remove("reference")
    {
        let mut inside = Map::new();
        let place = entry.node.place;
        inside.insert("backendRef", entry.key_place, entry.node);
        backend.insert("openTelemetry", entry.key_place, Node::new(place, Value::Map(inside)));
    }
}

/// Whether the reference is one to a resource of that kind.
pub(crate) fn refers_to(reference: Option<&Node>, kind: &str) -> bool {
    reference.and_then(|node| node.get("kind")).and_then(Node::as_str) == Some(kind)
}

/// `type` says which form is set, of `forms`: the field that holds it, and its name.
pub(crate) fn say_form(backend: &mut Map, forms: &[(&str, &str)]) {
    let set: Vec<_> = forms
        .iter()
        .filter_map(|(field, name)| Some((backend.entry(field)?.key_place, name)))
        .collect();
    if let [(place, name)] = set[..]
        && !backend.contains("type")
        && !backend.contains("reference")
    {
        backend.insert("type", place, Node::new(place, Value::String((*name).to_owned())));
    }
}
