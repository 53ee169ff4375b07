//! The schema for editors and the control plane agree on documents that are nearly right: every example and case with one thing missing,
//! emptied, of another type or too many.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use ursa_model::document;
use ursa_model::schema::published;

use crate::corpus;

/// What only the control plane sees: what several values mean together, by the end of a path and of what is done there.
const MEANINGS: &[&str] = &[
    // Two would listen in the same place.
    "Dataplane.networking.inbound[].servicePort null",
    "Dataplane.networking.inbound[].servicePort without",
    "backends[].prometheus empty",
    "backends[].prometheus.path null",
    "backends[].prometheus.path without",
    "backends[].prometheus.port null",
    "backends[].prometheus.port without",
    // A path belongs to HTTP, which the protocol says.
    "openTelemetry.protocol null",
    "openTelemetry.protocol without",
    // A label without a value is none, and there is no other.
    "backendRef.labels.env null",
    "backendRef.labels.tier null",
    "hostSelection[].tags.version null",
    "backendRefs[].labels.a null",
    "targetRef.labels.tier null",
    // What a gateway's routes may say is no other's.
    "MeshHTTPRoute.spec.targetRef null",
    "MeshHTTPRoute.spec.targetRef without",
    // The backend that is enabled is one of them.
    "mtls.backends null",
    "mtls.backends without",
    "mtls.backends[] without",
    // One that is provided has to be.
    "mtls.backends[].conf empty",
    "mtls.backends[].conf null",
    "mtls.backends[].conf without",
    "mtls.backends[].conf.cert null",
    "mtls.backends[].conf.cert without",
    "mtls.backends[].conf.key null",
    "mtls.backends[].conf.key without",
    // A share that is nothing is none.
    "sampling.rules[].overall.value null",
    // Another spelling of Kuma's, which has to say something.
    "sidecar.regex null",
];

/// What is done to a value, and what it becomes; `None`: it is taken away.
fn changes(value: &Json) -> Vec<(&'static str, Option<Json>)> {
    let other = match value {
        Json::Object(_) => json!([]),
        Json::Array(_) => json!({}),
        _ => json!({"nothing": []}),
    };
    let mut changes = vec![("without", None), ("null", Some(Json::Null)), ("other", Some(other))];
    if let Json::Object(fields) = value {
        let mut more = fields.clone();
        more.insert("nothingIsCalledSo".to_owned(), json!([[]]));
        changes.push(("more", Some(Json::Object(more))));
        changes.push(("empty", Some(Json::Object(Map::new()))));
    }
    changes
}

/// The pointers to all that is within, and the paths without names of their own.
fn within(value: &Json, pointer: &str, path: &str, found: &mut Vec<(String, String)>) {
    let children: Vec<(String, String, &Json)> = match value {
        Json::Object(fields) => fields
            .iter()
            .map(|(name, field)| {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                (format!("{pointer}/{escaped}"), format!("{path}.{name}"), field)
            })
            .collect(),
        Json::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (format!("{pointer}/{at}"), format!("{path}[]"), item))
            .collect(),
        _ => Vec::new(),
    };
    for (pointer, path, child) in children {
        found.push((pointer.clone(), path.clone()));
        within(child, &pointer, &path, found);
    }
}

fn changed(document: &Json, pointer: &str, to: Option<Json>) -> Json {
    let mut document = document.clone();
    if let Some(to) = to {
        *document.pointer_mut(pointer).expect("a value") = to;
        return document;
    }
    let (parent, name) = pointer.rsplit_once('/').expect("within something");
    match document.pointer_mut(parent).expect("what holds it") {
        Json::Object(fields) => {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Json::Array(items) => drop(items.remove(name.parse::<usize>().expect("an index"))),
        _ => {}
    }
    document
}

#[test]
fn schema_and_control_plane_agree_on_structure() {
    let kinds = ursa_policies::kinds();
    let schema = jsonschema::draft202012::new(&published::of_kinds(&kinds)).expect("a schema");
    let mut disagree = BTreeMap::new();
    let mut compared = 0;
    for (place, document, accepted) in corpus::documents() {
        if !accepted || document.get("type").is_none() {
            continue;
        }
        let kind = document["type"].as_str().expect("a kind").to_owned();
        let mut places = Vec::new();
        within(&document, "", &kind, &mut places);
        for (pointer, path) in places {
            for (what, to) in changes(document.pointer(&pointer).expect("a value")) {
                let document = changed(&document, &pointer, to);
                let text = serde_json::to_string(&document).expect("JSON");
                let parsed = document::parse(&text, &kinds);
                let fits = schema.is_valid(&document);
                compared += 1;
                let is_meaning = MEANINGS.iter().any(|end| format!("{path} {what}").ends_with(end));
                if fits != parsed.is_accepted() && !(fits && is_meaning) {
                    let said =
                        parsed.violations.first().map(|it| format!("{}: {}", it.path, it.message));
                    let words =
                        if fits { "fits, and is refused" } else { "is accepted, and does not fit" };
                    disagree
                        .entry(format!("{path} {what} {words}"))
                        .or_insert((place.clone(), said));
                }
            }
        }
    }
    assert!(compared > 5_000, "{compared} documents");
    assert!(disagree.is_empty(), "{} of {compared}: {disagree:#?}", disagree.len());
}
