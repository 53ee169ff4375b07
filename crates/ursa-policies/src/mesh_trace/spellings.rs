//! Accepted spellings of a MeshTrace's settings, turned into the canonical ones.
//!
//! What is wrong is left as it is: validation says so where it stands.

use ursa_model::percent;
use ursa_model::report::Cursor;
use ursa_model::tree::{Map, Node, Value};

use crate::spelling::{reference_to_backend_ref, refers_to, say_form};

/// The forms of a backend and the `type` that says so.
const TYPES: [(&str, &str); 3] =
    [("zipkin", "Zipkin"), ("datadog", "Datadog"), ("openTelemetry", "OpenTelemetry")];

/// The node is `spec.default`.
pub(super) fn rewrite(settings: &mut Node, _report: &Cursor<'_>) {
    for list in ["backends", "additionalBackends"] {
        for backend in settings.get_mut(list).and_then(Node::as_list_mut).into_iter().flatten() {
            if let Some(backend) = backend.as_map_mut() {
                rewrite_backend(backend);
            }
        }
    }
    if let Some(sampling) = settings.get_mut("sampling") {
        rewrite_sampling(sampling);
    }
    for propagator in
        settings.get_mut("propagators").and_then(Node::as_list_mut).into_iter().flatten()
    {
        let canonical = match propagator.as_str() {
            Some("tracecontext") => "w3c_tracecontext",
            Some("baggage") => "w3c_baggage",
            _ => continue,
        };
        propagator.value = Value::String(canonical.to_owned());
    }
}

/// A MeshOpenTelemetryBackend is referred to by `openTelemetry.backendRef`, a MeshTraceBackend by `reference`; `type` says what is set.
fn rewrite_backend(backend: &mut Map) {
    reference_to_backend_ref(backend);
    backend_ref_to_reference(backend);
    say_form(backend, &TYPES);
}

fn backend_ref_to_reference(backend: &mut Map) {
    let Some(inside) = backend.get_mut("openTelemetry").and_then(Node::as_map_mut) else { return };
    let alone = inside.iter().count() == 1;
    if alone
        && refers_to(inside.get("backendRef"), "MeshTraceBackend")
        && let Some(entry) = inside.remove("backendRef")
    {
        backend.remove("openTelemetry");
        if backend.get("type").and_then(Node::as_str) == Some("OpenTelemetry") {
            backend.remove("type");
        }
        backend.insert("reference", entry.key_place, entry.node);
    }
}

/// `{value: N}` is `N`.
fn rewrite_sampling(sampling: &mut Node) {
    for share in ["overall", "client", "random"] {
        sampling.get_mut(share).into_iter().for_each(percent::rewrite);
    }
    if let Some(fallback) = sampling.get_mut("parent").and_then(|parent| parent.get_mut("fallback"))
    {
        percent::rewrite(fallback);
    }
    for rule in sampling.get_mut("rules").and_then(Node::as_list_mut).into_iter().flatten() {
        for share in ["random", "overall"] {
            rule.get_mut(share).into_iter().for_each(percent::rewrite);
        }
    }
}
