//! B3 in a header for each part: `x-b3-traceid`, `-spanid`, `-parentspanid`, `-sampled`, `-flags`.
//!
//! Source: openzipkin/b3-propagation, README, "Multiple Headers".

use crate::b3::{span_id, trace_id};
use crate::changes::Changes;
use crate::context::{Context, Decision, Parsed};
use crate::headers::{Header, Headers};

/// Reads the headers: both ids, or none and a decision. Old tracers say `true` and `false`; `x-b3-flags: 1` is
/// debug, whatever else is said. The parent is not used.
pub fn parse(headers: &Headers<'_>) -> Option<Parsed> {
    let decision = decision(headers);
    match (headers.first(Header::B3TraceId), headers.first(Header::B3SpanId)) {
        (None, None) => Parsed::decision(decision),
        (trace, span) => {
            Some(Parsed { trace: Some(trace_id(trace?)?), span: Some(span_id(span?)?), decision })
        }
    }
}

/// Sets the headers. Debug is said with both `x-b3-flags` and `x-b3-sampled`, since some readers know the latter
/// only; without it `x-b3-flags` goes, which would be another trace's.
pub(crate) fn set(context: &Context, headers: &Headers<'_>, changes: &mut Changes) {
    changes.set(Header::B3TraceId, 32, |out| context.trace.write_short(out));
    changes.set(Header::B3SpanId, 16, |out| context.span.write(out));
    let sampled = if context.decision.sampled() { b'1' } else { b'0' };
    changes.set(Header::B3Sampled, 1, |out| out.byte(sampled));
    if headers.has(Header::B3ParentSpanId) {
        changes.remove(Header::B3ParentSpanId);
    }
    if context.decision == Decision::Debug {
        changes.set(Header::B3Flags, 1, |out| out.byte(b'1'));
    } else if headers.has(Header::B3Flags) {
        changes.remove(Header::B3Flags);
    }
}

fn decision(headers: &Headers<'_>) -> Decision {
    if headers.first(Header::B3Flags) == Some(b"1") {
        return Decision::Debug;
    }
    match headers.first(Header::B3Sampled) {
        Some(b"1") => Decision::Accept,
        Some(b"0") => Decision::Deny,
        Some(word) if word.eq_ignore_ascii_case(b"true") => Decision::Accept,
        Some(word) if word.eq_ignore_ascii_case(b"false") => Decision::Deny,
        _ => Decision::Defer,
    }
}
