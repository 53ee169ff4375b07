//! Jaeger: `uber-trace-id: <trace>:<span>:<parent>:<flags>`.
//!
//! Source: Jaeger, "Client Libraries", "Propagation Format". Ids are hexadecimal and may be shorter than 32 and 16
//! digits, the parent is deprecated and ignored, the flags are a byte in hexadecimal: 1 is sampled, 2 is debug.
//! Some clients write the colons as `%3A`.

use crate::context::{Context, Decision, Parsed, SpanId, TraceId};
use crate::text;
use crate::writer::Writer;

/// Reads the value of `uber-trace-id`.
pub fn parse(value: &[u8]) -> Option<Parsed> {
    let (trace, rest) = field(value)?;
    let (span, rest) = field(rest?)?;
    let (_parent, rest) = field(rest?)?;
    let (flags, None) = field(rest?)? else { return None };
    if flags.len() > 2 {
        return None;
    }
    let flags = text::hex(flags)?;
    let decision = match (flags & 2, flags & 1) {
        (0, sampled) => Decision::of(sampled == 1),
        _ => Decision::Debug,
    };
    Some(Parsed {
        trace: Some(TraceId::from_hex(trace)?),
        span: Some(SpanId::from_hex(span)?),
        decision,
    })
}

/// Writes the value of `uber-trace-id`. There is no flag for "not decided": that is written as not sampled.
pub fn write(context: &Context, out: &mut Writer<'_>) {
    context.trace.write_short(out);
    out.byte(b':');
    context.span.write(out);
    out.bytes(b":0:");
    out.byte(match context.decision {
        Decision::Defer | Decision::Deny => b'0',
        Decision::Accept => b'1',
        Decision::Debug => b'3',
    });
}

/// What is before the next colon, and what is after it; none if an escape is there that is no colon.
fn field(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = value.iter().position(|byte| matches!(byte, b':' | b'%')).unwrap_or(value.len());
    match value.split_at_checked(end)? {
        (field, []) => Some((field, None)),
        (field, [b':', rest @ ..] | [b'%', b'3', b'A' | b'a', rest @ ..]) => {
            Some((field, Some(rest)))
        }
        _ => None,
    }
}
