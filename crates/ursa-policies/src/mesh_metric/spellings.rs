//! Accepted spellings of a MeshMetric's settings, turned into the canonical ones.

use ursa_model::report::Cursor;
use ursa_model::tree::{Entry, Map, Node, Value};

use crate::spelling::{reference_to_backend_ref, say_form};

/// The forms of a backend and the `type` that says so.
const TYPES: [(&str, &str); 2] = [("prometheus", "Prometheus"), ("openTelemetry", "OpenTelemetry")];

/// The node is `spec.default`.
pub(super) fn rewrite(settings: &mut Node, report: &Cursor<'_>) {
    if let Some(sidecar) = settings.get_mut("sidecar") {
        rewrite_sidecar(sidecar, &report.at("sidecar"));
    }
    let backends = settings.get_mut("backends").and_then(Node::as_list_mut).into_iter().flatten();
    for (index, backend) in backends.enumerate() {
        if let Some(sidecar) = backend.get_mut("sidecar") {
            rewrite_sidecar(sidecar, &report.at("backends").index(index).at("sidecar"));
        }
        let Some(backend) = backend.as_map_mut() else { continue };
        reference_to_backend_ref(backend);
        say_form(backend, &TYPES);
    }
}

fn rewrite_sidecar(sidecar: &mut Node, report: &Cursor<'_>) {
    let Some(sidecar) = sidecar.as_map_mut() else { return };
    if let Some(entry) = without(sidecar, "usedOnly", "includeUnused", report) {
        let mut node = entry.node;
        if let Value::Bool(used_only) = &mut node.value {
            *used_only = !*used_only;
        }
        sidecar.insert("includeUnused", entry.key_place, node);
    }
    if let Some(entry) = without(sidecar, "regex", "profiles", report) {
        let (key, place) = (entry.key_place, entry.node.place);
        let mut matcher = Map::new();
        matcher.insert("type", key, Node::new(place, Value::String("Regex".to_owned())));
        matcher.insert("match", key, entry.node);
        let exclude = Value::List(vec![Node::new(place, Value::Map(matcher))]);
        let mut profiles = Map::new();
        profiles.insert("exclude", key, Node::new(place, exclude));
        sidecar.insert("profiles", key, Node::new(place, Value::Map(profiles)));
    }
}

/// Takes out `old`, which says what `new` says; beside that it is refused.
fn without(sidecar: &mut Map, old: &str, new: &str, report: &Cursor<'_>) -> Option<Entry> {
    let both = sidecar.contains(new);
    let entry = sidecar.remove(old)?;
    if both {
        report.key(old).refuse(format!("stands beside `{new}`, which replaced it; keep `{new}`"));
        return None;
    }
    Some(entry)
}
