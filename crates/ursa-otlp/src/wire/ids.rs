//! Trace and span ids: reading them, and taking off spans that have none.
//!
//! OTLP 1.10: a `trace_id` of other than 16 bytes or of zeros only is invalid, and so is a `span_id`
//! of other than 8. Such a span can be shown nowhere; receivers take it off and say so (partial
//! success). Log records may lack ids.

use bytes::Bytes;

use super::fields::put_head;
use super::{Field, Fields, Value, WireError};

/// `ExportTraceServiceRequest.resource_spans`.
const RESOURCE_SPANS: u32 = 1;
/// `ResourceSpans.scope_spans`.
const SCOPE_SPANS: u32 = 2;
/// `ScopeSpans.spans`.
const SPANS: u32 = 2;
/// `Span.trace_id`.
const TRACE_ID: u32 = 1;
/// `Span.span_id`.
const SPAN_ID: u32 = 2;

/// Which span it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId {
    /// `trace_id`.
    pub trace: [u8; 16],
    /// `span_id`.
    pub span: [u8; 8],
}

impl SpanId {
    /// The ids, if they are valid.
    pub fn of(trace: &[u8], span: &[u8]) -> Option<Self> {
        let id = Self { trace: trace.try_into().ok()?, span: span.try_into().ok()? };
        (id.trace != [0; 16] && id.span != [0; 8]).then_some(id)
    }

    /// Of the body of a `Span`. The last of ids that stand there twice count, as for decoders.
    pub fn of_span(body: &[u8]) -> Option<Self> {
        let (mut trace, mut span): (&[u8], &[u8]) = (&[], &[]);
        for field in Fields::new(body) {
            match field.ok()? {
                Field { number: TRACE_ID, value: Value::Bytes(id), .. } => trace = id,
                Field { number: SPAN_ID, value: Value::Bytes(id), .. } => span = id,
                _ => {}
            }
        }
        Self::of(trace, span)
    }

    /// The same without a walk, if the ids come first, as encoders write them.
    fn leading(body: &[u8]) -> Option<Self> {
        let ([0x0a, 16, ids @ ..], _) = body.split_first_chunk::<28>()? else { return None };
        let (trace, [0x12, 8, span @ ..]) = ids.split_first_chunk::<16>()? else { return None };
        Self::of(trace, span)
    }
}

/// The ids of the spans of a request of traces that walks; spans without valid ids are left out.
pub fn span_ids(request: &[u8]) -> impl Iterator<Item = SpanId> {
    bodies(request, RESOURCE_SPANS)
        .flat_map(|spans| bodies(spans, SCOPE_SPANS))
        .flat_map(|scope| bodies(scope, SPANS))
        .filter_map(|span| SpanId::leading(span).or_else(|| SpanId::of_span(span)))
}

/// A request of traces without its spans that have no valid ids, and how many these were. Copies
/// nothing if there are none.
///
/// # Errors
/// The request does not walk; requests that passed [`check`](super::check()) do.
pub fn drop_invalid(request: &Bytes) -> Result<(Bytes, usize), WireError> {
    let mut out = Vec::with_capacity(request.len());
    let dropped = without_invalid(request, &[RESOURCE_SPANS, SCOPE_SPANS, SPANS], &mut out)?;
    if dropped == 0 {
        return Ok((request.clone(), 0));
    }
    out.shrink_to_fit();
    Ok((out.into(), dropped))
}

/// Copies a message whose field `path[0]` leads to spans.
fn without_invalid(body: &[u8], path: &[u32], out: &mut Vec<u8>) -> Result<usize, WireError> {
    let Some((&number, deeper)) = path.split_first() else {
        out.extend_from_slice(body);
        return Ok(0);
    };
    let mut dropped = 0_usize;
    for field in Fields::new(body) {
        let field = field?;
        match field.value {
            Value::Bytes(span) if field.number == number && deeper.is_empty() => {
                if SpanId::of_span(span).is_some() {
                    out.extend_from_slice(field.raw);
                } else {
                    dropped = dropped.saturating_add(1);
                }
            }
            Value::Bytes(inner) if field.number == number => {
                let mut kept = Vec::with_capacity(inner.len());
                let lost = without_invalid(inner, deeper, &mut kept)?;
                if lost == 0 {
                    out.extend_from_slice(field.raw);
                } else {
                    put_head(out, number, kept.len());
                    out.extend_from_slice(&kept);
                }
                dropped = dropped.saturating_add(lost);
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    Ok(dropped)
}

/// The values of the field `number`, up to the first error.
fn bodies(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).map_while(Result::ok).filter_map(move |field| match field.value {
        Value::Bytes(body) if field.number == number => Some(body),
        _ => None,
    })
}
