//! One table of endpoints, and one verdict on each wherever a backend can stand: in the three policies and in the two kinds of backend.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;
use ursa_model::backend::{OpenTelemetryBackend, Protocol};
use ursa_model::document;
use ursa_model::report::Violation;

use super::{KINDS, Resources, TestProxy};
use crate::effective;
use crate::policy::PolicyResource;

/// `endpoint | protocol | tls | verdict`; what is empty is not written.
const TABLE: &str = include_str!("../../corpus/endpoints.table");

/// Where a backend can stand: in a text around it, at a path.
const PLACES: [(&str, &str); 9] = [
    (
        "spec",
        "{type: MeshOpenTelemetryBackend, name: b, spec: BACKEND}\n---\n\
         {type: MeshTrace, name: p, spec: {default: {backends: [{reference: {kind: MeshOpenTelemetryBackend, name: b}}]}}}",
    ),
    (
        "spec.openTelemetry",
        "{type: MeshTraceBackend, name: b, spec: {openTelemetry: BACKEND}}\n---\n\
         {type: MeshTrace, name: p, spec: {default: {backends: [{reference: {kind: MeshTraceBackend, name: b}}]}}}",
    ),
    (
        "spec.default.backends[0].openTelemetry",
        "{type: MeshTrace, name: p, spec: {default: {backends: [{openTelemetry: BACKEND}]}}}",
    ),
    (
        "spec.default.backends[0].openTelemetry",
        "{type: MeshTrace, name: p, spec: {default: {backend: {openTelemetry: BACKEND}}}}",
    ),
    (
        "spec.default.additionalBackends[0].openTelemetry",
        "{type: MeshTrace, name: p, spec: {default: {backends: [{zipkin: {url: \"http://zipkin\"}}], additionalBackends: [{openTelemetry: BACKEND}]}}}",
    ),
    (
        "spec.default.backends[0].openTelemetry",
        "{type: MeshMetric, name: p, spec: {default: {backends: [{openTelemetry: BACKEND}]}}}",
    ),
    (
        "spec.from[0].default.backends[0].openTelemetry",
        "{type: MeshAccessLog, name: p, spec: {from: [{default: {backends: [{openTelemetry: BACKEND}]}}]}}",
    ),
    (
        "spec.rules[0].default.backends[0].openTelemetry",
        "{type: MeshAccessLog, name: p, spec: {rules: [{default: {backend: {openTelemetry: BACKEND}}}]}}",
    ),
    (
        "spec.to[0].default.backends[0].openTelemetry",
        "{type: MeshAccessLog, name: p, spec: {to: [{default: {backends: [{openTelemetry: BACKEND}]}}]}}",
    ),
];

#[test]
fn an_endpoint_means_the_same_everywhere() {
    let proxy = TestProxy::named("frontend");
    let rows = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for row in rows {
        let (written, expected) = row.rsplit_once('|').expect("a row ends with its verdict");
        let cells: Vec<_> = written.split('|').map(str::trim).collect();
        let fields = ["endpoint", "protocol", "tls"].into_iter().zip(&cells);
        let fields = fields.filter(|(_, value)| !value.is_empty());
        let fields: Vec<_> =
            fields.map(|(name, value)| format!("{name}: {}", quoted(value))).collect();
        let backend = format!("{{{}}}", fields.join(", "));
        for (path, around) in PLACES {
            let verdict = verdict(&proxy, &around.replace("BACKEND", &backend), path);
            assert_eq!(verdict, expected.trim(), "of {backend} at {path} in {around}");
        }
    }
}

/// Texts are quoted, so that YAML leaves them as they are.
fn quoted(value: &str) -> String {
    if value.starts_with(['{', '"']) { value.to_owned() } else { Json::from(value).to_string() }
}

/// What is said of the backend at `path`, or where telemetry goes.
fn verdict(proxy: &TestProxy, text: &str, path: &str) -> String {
    let parsed = document::parse(text, &KINDS);
    let said: Vec<_> = parsed.violations.iter().map(|violation| said(violation, path)).collect();
    if !parsed.is_accepted() {
        return said.join("; ");
    }
    let policies = parsed
        .documents
        .iter()
        .filter_map(|document| PolicyResource::from_document(document, None));
    let policies: Vec<_> = policies.map(Arc::new).collect();
    let effective = effective::effective(&policies, &proxy.subject());
    let mut config = proxy.config();
    effective::apply(&effective, &Resources(parsed.documents), &mut config);
    let pipeline = serde_json::to_value(&config.pipeline).expect("pipelines are JSON");
    let mut places = BTreeSet::new();
    collect(&pipeline, &mut places);
    places.into_iter().chain(said).collect::<Vec<_>>().join("; ")
}

fn said(violation: &Violation, path: &str) -> String {
    let severity = if violation.is_refusal() { "refused" } else { "warning" };
    let field = violation.path.to_string();
    let field =
        field.strip_prefix(path).map_or(field.as_str(), |field| field.trim_start_matches('.'));
    let hint = violation.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{severity} {field}: {}{hint}", violation.message)
}

/// Where all that is `openTelemetry` in `json` leads.
fn collect(json: &Json, places: &mut BTreeSet<String>) {
    match json {
        Json::Object(entries) => {
            for (key, value) in entries {
                if key == "openTelemetry" {
                    places.insert(place(value));
                } else {
                    collect(value, places);
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, places)),
        _ => {}
    }
}

fn place(backend: &Json) -> String {
    let backend: OpenTelemetryBackend = serde_json::from_value(backend.clone()).expect("a backend");
    let to = backend.resolve().expect("what was accepted resolves");
    let (protocol, path) = match to.protocol {
        Protocol::Grpc => ("gRPC", String::new()),
        Protocol::Http => ("HTTP", to.signal_path("*")),
    };
    let tls = if to.tls { " with TLS" } else { "" };
    let host = if to.host.is_empty() { "the node" } else { &to.host };
    format!(
        "{protocol}{tls} to {host}, port {}{}{path}",
        to.port,
        if path.is_empty() { "" } else { ", " }
    )
}
