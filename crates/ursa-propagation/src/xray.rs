//! AWS X-Ray: `x-amzn-trace-id: Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=1`, in any order.
//!
//! Sources: AWS X-Ray Developer Guide, "Tracing header", and Elastic Load Balancing, "Request tracing". A load
//! balancer sends `Root` alone, or with a `Self` of its own; `Sampled=?` asks the receiver to decide; what else is
//! there (`Lineage`, fields of applications) is passed on.

use crate::context::{Context, Decision, Parsed, SpanId, TraceId};
use crate::text::{self, Parts};
use crate::writer::Writer;

/// Reads the value of `x-amzn-trace-id`. Of a field that is there twice the first counts.
pub fn parse(value: &[u8]) -> Option<Parsed> {
    let decision = match field(value, b"Sampled") {
        None | Some(b"?") => Decision::Defer,
        Some(b"0") => Decision::Deny,
        Some(b"1") => Decision::Accept,
        Some(_) => return None,
    };
    let Some(root) = field(value, b"Root") else { return Parsed::decision(decision) };
    let span = match field(value, b"Parent") {
        Some(digits) if digits.len() == 16 => Some(SpanId::from_hex(digits)?),
        Some(_) => return None,
        None => None,
    };
    Some(Parsed { trace: Some(trace_id(root)?), span, decision })
}

/// Writes the value, with those fields of `before`, the caller's own, that are not written anew and for which there
/// is room. `Self` is a load balancer's, and goes.
pub fn write(context: &Context, before: &[u8], out: &mut Writer<'_>) {
    out.bytes(b"Root=1-");
    let high = context.trace.high();
    out.hex_of_half((high >> 32) as u32);
    out.byte(b'-');
    out.hex_of_half((high & 0xffff_ffff) as u32);
    out.hex(context.trace.low());
    out.bytes(b";Parent=");
    context.span.write(out);
    match context.decision {
        Decision::Defer => {}
        Decision::Deny => out.bytes(b";Sampled=0"),
        Decision::Accept | Decision::Debug => out.bytes(b";Sampled=1"),
    }
    for field in Parts::new(before, b';') {
        let ours = matches!(text::cut(field, b'=').0, b"Root" | b"Parent" | b"Sampled" | b"Self");
        if !ours && field.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let length = out.length();
            out.byte(b';');
            out.bytes(field);
            if !out.fits() {
                out.rewind(length);
            }
        }
    }
}

fn field<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Parts::new(value, b';').find_map(|part| match text::cut(part, b'=') {
        (key, Some(value)) if key == name => Some(value),
        _ => None,
    })
}

fn trace_id(root: &[u8]) -> Option<TraceId> {
    let digits = root.strip_prefix(b"1-")?;
    let (time, rest) = digits.split_at_checked(8)?;
    let [b'-', rest @ ..] = rest else { return None };
    let (middle, low) = rest.split_last_chunk::<16>()?;
    if middle.len() != 8 {
        return None;
    }
    TraceId::new(text::hex(time)? << 32 | text::hex(middle)?, text::hex(low)?)
}
