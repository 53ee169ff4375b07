//! Cutting a request into smaller ones.

use bytes::Bytes;

use super::fields::{head_length, put_bytes};
use super::{Fields, Value, WireError, check, schema};
use crate::Signal;

/// `ExportTraceServiceRequest.resource_spans` and its kin.
const RESOURCE_ITEMS: u32 = 1;
/// `ResourceSpans.scope_spans` and its kin.
const SCOPE_ITEMS: u32 = 2;
/// `ScopeSpans.spans` and its kin.
const ITEMS: u32 = 2;
/// How many times larger than its contents what is repeated in a request may be.
const REPEATED: usize = 4;

/// Requests of at most `max_bytes` each that hold together what `request` holds, in order, and how
/// many items each has. A span, metric or log record is never cut, so one that is larger makes a
/// larger request by itself. Resource and scope are repeated in each request; no request ends before
/// what it holds besides them takes a quarter of them, so that all together take at most five times
/// what `request` does.
///
/// # Errors
/// The request is not valid.
pub fn split(
    signal: Signal,
    request: &Bytes,
    max_bytes: usize,
) -> Result<Vec<(Bytes, usize)>, WireError> {
    let items = check(signal, request)?;
    if request.len() <= max_bytes {
        return Ok(vec![(request.clone(), items)]);
    }
    let mut pieces = Pieces { signal, max_bytes, ..Pieces::new(signal) };
    for field in Fields::new(request) {
        let field = field?;
        match field.value {
            Value::Bytes(body) if field.number == RESOURCE_ITEMS => pieces.resource(body)?,
            _ => pieces.request.extend_from_slice(field.raw),
        }
    }
    pieces.end_request();
    Ok(pieces.done)
}

/// The request that is being written, from the inside out.
struct Pieces {
    signal: Signal,
    max_bytes: usize,
    /// Whole fields of the request.
    request: Vec<u8>,
    /// Fields of the current `ResourceSpans`, less scopes; and its scopes so far.
    resource_head: Vec<u8>,
    scopes: Vec<u8>,
    /// Fields of the current `ScopeSpans`, less items; and its items so far.
    scope_head: Vec<u8>,
    items: Vec<u8>,
    count: usize,
    done: Vec<(Bytes, usize)>,
}

impl Pieces {
    fn new(signal: Signal) -> Self {
        Self {
            signal,
            max_bytes: usize::MAX,
            request: Vec::new(),
            resource_head: Vec::new(),
            scopes: Vec::new(),
            scope_head: Vec::new(),
            items: Vec::new(),
            count: 0,
            done: Vec::new(),
        }
    }

    fn resource(&mut self, body: &[u8]) -> Result<(), WireError> {
        self.resource_head = all_but(body, SCOPE_ITEMS)?;
        for field in Fields::new(body) {
            let field = field?;
            if let (SCOPE_ITEMS, Value::Bytes(scope)) = (field.number, field.value) {
                self.scope(scope)?;
            }
        }
        self.end_resource();
        Ok(())
    }

    fn scope(&mut self, body: &[u8]) -> Result<(), WireError> {
        self.scope_head = all_but(body, ITEMS)?;
        for field in Fields::new(body) {
            let field = field?;
            let (ITEMS, Value::Bytes(item)) = (field.number, field.value) else { continue };
            let too_long = self.length_with(field.raw.len()) > self.max_bytes;
            if too_long && self.contents() >= self.heads() / REPEATED {
                self.end_scope();
                self.end_resource();
                self.end_request();
            }
            self.items.extend_from_slice(field.raw);
            self.count = self.count.saturating_add(match self.signal {
                Signal::Metrics => schema::points(item)?,
                Signal::Traces | Signal::Logs => 1,
            });
        }
        self.end_scope();
        Ok(())
    }

    /// What the request holds so far and no other repeats.
    fn contents(&self) -> usize {
        self.request.len().saturating_add(self.scopes.len()).saturating_add(self.items.len())
    }

    /// What the next request repeats.
    fn heads(&self) -> usize {
        self.resource_head.len().saturating_add(self.scope_head.len())
    }

    /// How long the request would be with one more item.
    fn length_with(&self, item: usize) -> usize {
        let field = |number, length| head_length(number, length).saturating_add(length);
        let scope = self.scope_head.len().saturating_add(self.items.len()).saturating_add(item);
        let scopes = self.scopes.len().saturating_add(field(SCOPE_ITEMS, scope));
        let resource = self.resource_head.len().saturating_add(scopes);
        self.request.len().saturating_add(field(RESOURCE_ITEMS, resource))
    }

    fn end_scope(&mut self) {
        if !self.items.is_empty() {
            let body = [self.scope_head.as_slice(), &self.items].concat();
            put_bytes(&mut self.scopes, SCOPE_ITEMS, &body);
            self.items.clear();
        }
    }

    fn end_resource(&mut self) {
        if !self.scopes.is_empty() {
            let body = [self.resource_head.as_slice(), &self.scopes].concat();
            put_bytes(&mut self.request, RESOURCE_ITEMS, &body);
            self.scopes.clear();
        }
    }

    fn end_request(&mut self) {
        if !self.request.is_empty() {
            let request = std::mem::take(&mut self.request);
            self.done.push((request.into(), std::mem::take(&mut self.count)));
        }
    }
}

/// The fields of a message less those of one number.
fn all_but(body: &[u8], number: u32) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    for field in Fields::new(body) {
        let field = field?;
        if field.number != number {
            out.extend_from_slice(field.raw);
        }
    }
    Ok(out)
}
