//! Spans gathered by resource and scope: formats that say everything with each span become
//! requests that say it once.

use std::collections::BTreeMap;

use super::{Any, attribute, names, text};
use crate::wire::fields::{head_length, put_bytes, put_head};

/// What identifies a resource in formats without resources. Empty parts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) service: String,
    pub(crate) environment: String,
    pub(crate) version: String,
}

/// An instrumentation scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// Encoded spans by resource and scope; in the order of their names, so that equal spans make
/// equal requests.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<Resource, BTreeMap<Scope, Vec<u8>>>);

impl Groups {
    /// Adds a span's message.
    pub(crate) fn add(&mut self, resource: Resource, scope: Scope, span: &[u8]) {
        let spans = self.0.entry(resource).or_default().entry(scope).or_default();
        put_bytes(spans, 2, span);
    }

    /// The `ExportTraceServiceRequest`.
    pub(crate) fn into_request(self) -> Vec<u8> {
        let mut out = Vec::new();
        for (resource, scopes) in self.0 {
            let resource = resource.encoded();
            let scopes: Vec<(Vec<u8>, Vec<u8>)> =
                scopes.into_iter().map(|(scope, spans)| (scope.encoded(), spans)).collect();
            let field = |length: usize| head_length(1, length).saturating_add(length);
            let inner = |(scope, spans): &(Vec<u8>, Vec<u8>)| {
                field(scope.len()).saturating_add(spans.len())
            };
            let length = scopes
                .iter()
                .map(inner)
                .map(field)
                .fold(field(resource.len()), usize::saturating_add);
            put_head(&mut out, 1, length);
            put_bytes(&mut out, 1, &resource);
            for parts in &scopes {
                put_head(&mut out, 2, inner(parts));
                put_bytes(&mut out, 1, &parts.0);
                out.extend_from_slice(&parts.1);
            }
        }
        out
    }
}

impl Resource {
    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in [
            (names::SERVICE_NAME, &self.service),
            (names::ENVIRONMENT, &self.environment),
            (names::SERVICE_VERSION, &self.version),
        ] {
            if !value.is_empty() {
                attribute(&mut out, 1, key, Any::Text(value));
            }
        }
        out
    }
}

impl Scope {
    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        text(&mut out, 1, &self.name);
        text(&mut out, 2, &self.version);
        out
    }
}
