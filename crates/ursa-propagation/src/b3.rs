//! B3 in one header: `b3: <trace>-<span>[-<decision>[-<parent>]]`, or the decision alone.
//!
//! Source: openzipkin/b3-propagation, README, "Single Header". Digits may be of either case, and a trace id may have
//! 16 or 32 of them.

use crate::context::{Context, Decision, Parsed, SpanId, TraceId};
use crate::text;
use crate::writer::Writer;

/// Reads the value of `b3`. The parent is checked and not used.
pub fn parse(value: &[u8]) -> Option<Parsed> {
    if let Some(decision) = decision(value) {
        return Parsed::decision(decision);
    }
    let (trace, rest) = text::cut(value, b'-');
    let (span, rest) = text::cut(rest?, b'-');
    let decision = match rest.map(|rest| text::cut(rest, b'-')) {
        None => Decision::Defer,
        Some((one, parent)) => {
            if !parent.is_none_or(|parent| parent.len() == 16 && text::hex(parent).is_some()) {
                return None;
            }
            decision(one)?
        }
    };
    Some(Parsed { trace: Some(trace_id(trace)?), span: Some(span_id(span)?), decision })
}

/// Writes the value of `b3`.
pub fn write(context: &Context, out: &mut Writer<'_>) {
    context.trace.write_short(out);
    out.byte(b'-');
    context.span.write(out);
    match context.decision {
        Decision::Defer => {}
        Decision::Deny => out.bytes(b"-0"),
        Decision::Accept => out.bytes(b"-1"),
        Decision::Debug => out.bytes(b"-d"),
    }
}

/// A trace id of 16 or 32 digits.
pub(crate) fn trace_id(digits: &[u8]) -> Option<TraceId> {
    if matches!(digits.len(), 16 | 32) { TraceId::from_hex(digits) } else { None }
}

/// A span id of 16 digits.
pub(crate) fn span_id(digits: &[u8]) -> Option<SpanId> {
    if digits.len() == 16 { SpanId::from_hex(digits) } else { None }
}

fn decision(value: &[u8]) -> Option<Decision> {
    match value {
        b"0" => Some(Decision::Deny),
        b"1" => Some(Decision::Accept),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}
