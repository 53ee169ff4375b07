//! W3C Trace Context, `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, lower case.
//!
//! Sources: W3C Trace Context (Level 1 and 2), "traceparent Header Field Values" and "Versioning of traceparent".

use crate::context::{Context, Decision, SpanId, TraceId};
use crate::headers::{Header, Headers};
use crate::text;
use crate::writer::Writer;

/// Bytes of a `traceparent` of version 00.
pub const LENGTH: usize = 55;

/// A valid `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// What it says. Never [`Decision::Defer`] or [`Decision::Debug`], which W3C cannot say.
    pub context: Context,
    /// Whether it is of version 00, which every reader understands.
    pub is_00: bool,
}

/// The request's `traceparent`. Several are none: they contradict each other, and the trace is restarted.
pub fn read(headers: &Headers<'_>) -> Option<Traceparent> {
    let value = headers.first(Header::Traceparent)?;
    if headers.is_repeated(Header::Traceparent) { None } else { parse(value) }
}

/// Reads a `traceparent`.
///
/// Version 00 has exactly four fields. Of a higher version the first four are read, and a further dash must follow
/// them if anything does. Version ff, upper-case digits and ids of zeros only are not valid.
pub fn parse(value: &[u8]) -> Option<Traceparent> {
    let (value, rest) = value.split_at_checked(LENGTH)?;
    if value.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let (version, value) = field(value, 2)?;
    let (trace, value) = field(value, 32)?;
    let (span, flags) = field(value, 16)?;
    let version = text::hex(version)?;
    let is_00 = version == 0;
    if version == 0xff || (is_00 && !rest.is_empty()) || !matches!(rest, [] | [b'-', ..]) {
        return None;
    }
    let sampled = text::hex(flags)? & 1 == 1;
    let context = Context {
        trace: TraceId::from_hex(trace)?,
        span: SpanId::from_hex(span)?,
        decision: Decision::of(sampled),
    };
    Some(Traceparent { context, is_00 })
}

/// Writes a `traceparent` of version 00, with the flag `sampled` or none.
pub fn write(context: &Context, out: &mut Writer<'_>) {
    out.bytes(b"00-");
    context.trace.write(out);
    out.byte(b'-');
    context.span.write(out);
    out.bytes(if context.decision.sampled() { b"-01" } else { b"-00" });
}

/// The first bytes, and what is after the dash that follows them.
fn field(value: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    match value.split_at_checked(length)? {
        (field, [b'-', rest @ ..]) => Some((field, rest)),
        _ => None,
    }
}
