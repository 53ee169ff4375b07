//! An `ExportTraceServiceRequest` taken apart: which spans, of which origin.

use std::borrow::Cow;

use super::bounds::{
    MAX_RESOURCE_BYTES, MAX_SCOPE_BYTES, MAX_SPAN_BYTES, cut_resource, cut_scope, cut_span,
};
use super::facts::Facts;
use super::wire::{Field, Malformed, fields};

/// What a request holds. Takes a small multiple of the request's own size, whatever it is made of.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    /// Encoded `ResourceSpans` without their `ScopeSpans`.
    resources: Vec<Vec<u8>>,
    pub(super) groups: Vec<Group<'a>>,
    /// Spans that are none, or whose ids are not valid.
    pub(super) invalid: u64,
    /// Spans that were cut to the bounds.
    pub(super) cut: u64,
}

/// Spans of one origin.
#[derive(Debug)]
pub(super) struct Group<'a> {
    /// Index among the resources.
    resource: usize,
    /// Encoded `ScopeSpans` without its spans.
    scope: Vec<u8>,
    pub(super) spans: Vec<(Facts, Cow<'a, [u8]>)>,
}

impl<'a> Request<'a> {
    /// Fails only where the request itself is no protobuf; of what is wrong with a span the others know nothing.
    pub(super) fn read(request: &'a [u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in fields(request) {
            if let Field { number: 1, value, .. } = field? {
                read.resource_spans(value.bytes()?)?;
            }
        }
        Ok(read)
    }

    fn resource_spans(&mut self, resource_spans: &'a [u8]) -> Result<(), Malformed> {
        let (resource, scopes) = apart(resource_spans)?;
        let index = self.resources.len();
        self.resources.push(if resource.len() > MAX_RESOURCE_BYTES {
            cut_resource(&resource)?
        } else {
            resource
        });
        scopes.into_iter().try_for_each(|scope_spans| self.scope_spans(index, scope_spans))
    }

    fn scope_spans(&mut self, resource: usize, scope_spans: &'a [u8]) -> Result<(), Malformed> {
        let (scope, encoded) = apart(scope_spans)?;
        let scope = if scope.len() > MAX_SCOPE_BYTES { cut_scope(&scope)? } else { scope };
        let spans: Vec<_> = encoded.into_iter().filter_map(|span| self.span(span)).collect();
        if !spans.is_empty() {
            self.groups.push(Group { resource, scope, spans });
        }
        Ok(())
    }

    fn span(&mut self, span: &'a [u8]) -> Option<(Facts, Cow<'a, [u8]>)> {
        let kept = Facts::read(span).and_then(|facts| {
            if span.len() <= MAX_SPAN_BYTES {
                return Ok((facts, Cow::Borrowed(span)));
            }
            self.cut += 1;
            Ok((facts, Cow::Owned(cut_span(span)?)))
        });
        self.invalid += u64::from(kept.is_err());
        kept.ok()
    }

    /// Writes a group's origin into `origin`: the `ResourceSpans` with its one `ScopeSpans`, without spans.
    pub(super) fn origin_of(&self, group: &Group<'_>, origin: &mut Vec<u8>) {
        const SCOPE_SPANS: u8 = 2 << 3 | 2;
        origin.clear();
        origin.extend(self.resources.get(group.resource).into_iter().flatten());
        origin.push(SCOPE_SPANS);
        prost::encoding::encode_varint(group.scope.len() as u64, origin);
        origin.extend_from_slice(&group.scope);
    }
}

/// A message's own fields, and its elements: in `ResourceSpans` and in `ScopeSpans` these have number 2.
fn apart(message: &[u8]) -> Result<(Vec<u8>, Vec<&[u8]>), Malformed> {
    let (mut own, mut elements) = (Vec::new(), Vec::new());
    for field in fields(message) {
        let Field { number, value, raw } = field?;
        match number {
            2 => elements.push(value.bytes()?),
            _ => own.extend_from_slice(raw),
        }
    }
    Ok((own, elements))
}
