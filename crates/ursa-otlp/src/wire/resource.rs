//! Attributes put on every resource of a request.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fields::{head_length, put_bytes, put_head};
use super::{Fields, Value, WireError};

/// `ExportTraceServiceRequest.resource_spans` and its kin.
const RESOURCE_ITEMS: u32 = 1;
/// `ResourceSpans.resource` and its kin.
const RESOURCE: u32 = 1;
/// `ResourceSpans.scope_spans` and its kin.
const SCOPE_ITEMS: u32 = 2;
/// `ScopeSpans.spans` and its kin.
const ITEMS: u32 = 2;
/// `Resource.attributes`.
const ATTRIBUTES: u32 = 1;
/// `KeyValue.key`.
const KEY: u32 = 1;
/// `KeyValue.value`.
const VALUE: u32 = 2;
/// `AnyValue.string_value`.
const STRING_VALUE: u32 = 1;

/// Text attributes for every resource, encoded once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAttributes {
    set: BTreeMap<String, Vec<u8>>,
    fill: BTreeMap<String, Vec<u8>>,
}

/// What an edit needs to know of one `ResourceSpans` before it writes it.
struct Parts<'a> {
    /// Bodies of the resource; several are one message, split.
    resources: Vec<&'a [u8]>,
    /// Bytes of the fields that hold them.
    resource_bytes: usize,
    empty: bool,
}

impl ResourceAttributes {
    /// `set` replaces what a resource says under the same key; `fill` is added where the key is
    /// absent. A key in both counts as set.
    pub fn new(set: &BTreeMap<String, String>, fill: &BTreeMap<String, String>) -> Self {
        let encode = |(key, value): (&String, &String)| (key.clone(), attribute(key, value));
        let fill = fill.iter().filter(|(key, _)| !set.contains_key(*key));
        Self { set: set.iter().map(encode).collect(), fill: fill.map(encode).collect() }
    }

    /// Puts the attributes on every resource of an export request of any signal, and leaves out
    /// every `ResourceSpans` (or its kin) that has no span.
    ///
    /// All else stays byte by byte, except that a resource comes first in its message.
    ///
    /// # Errors
    /// The request does not walk; requests that passed [`check`](super::check()) do.
    pub fn apply(&self, request: &Bytes) -> Result<Bytes, WireError> {
        let mut out = Vec::with_capacity(request.len().saturating_add(512));
        let mut resource = Vec::new();
        for field in Fields::new(request) {
            let field = field?;
            let (RESOURCE_ITEMS, Value::Bytes(body)) = (field.number, field.value) else {
                out.extend_from_slice(field.raw);
                continue;
            };
            let parts = Parts::of(body)?;
            if parts.empty {
                continue;
            }
            if self.set.is_empty() && self.fill.is_empty() {
                out.extend_from_slice(field.raw);
                continue;
            }
            resource.clear();
            self.write_resource(&parts.resources, &mut resource)?;
            let length = body
                .len()
                .saturating_sub(parts.resource_bytes)
                .saturating_add(head_length(RESOURCE, resource.len()))
                .saturating_add(resource.len());
            put_head(&mut out, RESOURCE_ITEMS, length);
            put_bytes(&mut out, RESOURCE, &resource);
            for field in Fields::new(body) {
                let field = field?;
                if !matches!((field.number, field.value), (RESOURCE, Value::Bytes(_))) {
                    out.extend_from_slice(field.raw);
                }
            }
        }
        // It may wait for long, and the queue counts only its bytes.
        out.shrink_to_fit();
        Ok(out.into())
    }

    fn write_resource(&self, bodies: &[&[u8]], out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut present: Vec<&[u8]> = Vec::new();
        for field in bodies.iter().flat_map(|body| Fields::new(body)) {
            let field = field?;
            if let (ATTRIBUTES, Value::Bytes(body)) = (field.number, field.value) {
                let key = key(body)?;
                let text = std::str::from_utf8(key).unwrap_or_default();
                if self.set.contains_key(text) {
                    continue;
                }
                if self.fill.contains_key(text) {
                    present.push(key);
                }
            }
            out.extend_from_slice(field.raw);
        }
        let fill = self.fill.iter().filter(|(key, _)| !present.contains(&key.as_bytes()));
        for (_, encoded) in self.set.iter().chain(fill) {
            out.extend_from_slice(encoded);
        }
        Ok(())
    }
}

impl<'a> Parts<'a> {
    fn of(body: &'a [u8]) -> Result<Self, WireError> {
        let mut parts = Self { resources: Vec::new(), resource_bytes: 0, empty: true };
        for field in Fields::new(body) {
            let field = field?;
            match (field.number, field.value) {
                (RESOURCE, Value::Bytes(body)) => {
                    parts.resources.push(body);
                    parts.resource_bytes = parts.resource_bytes.saturating_add(field.raw.len());
                }
                (SCOPE_ITEMS, Value::Bytes(scope)) if parts.empty => {
                    for field in Fields::new(scope) {
                        parts.empty &= field?.number != ITEMS;
                    }
                }
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// The key of a `KeyValue`: the last one, if it stands there twice.
fn key(body: &[u8]) -> Result<&[u8], WireError> {
    let mut key: &[u8] = &[];
    for field in Fields::new(body) {
        if let super::Field { number: KEY, value: Value::Bytes(text), .. } = field? {
            key = text;
        }
    }
    Ok(key)
}

/// The field `Resource.attributes` with one text attribute.
fn attribute(key: &str, value: &str) -> Vec<u8> {
    let mut any = Vec::new();
    put_bytes(&mut any, STRING_VALUE, value.as_bytes());
    let mut key_value = Vec::new();
    put_bytes(&mut key_value, KEY, key.as_bytes());
    put_bytes(&mut key_value, VALUE, &any);
    let mut field = Vec::new();
    put_bytes(&mut field, ATTRIBUTES, &key_value);
    field
}
