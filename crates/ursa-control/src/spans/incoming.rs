//! What a caller says of the trace that its request belongs to: W3C Trace Context and Baggage.

use axum::http::HeaderMap;
use ursa_propagation::{Headers, Writer, baggage, tracestate, w3c};

use super::span::{Carried, Context};

/// Bytes of `tracestate` that are carried on (W3C asks for 512 at least).
const MAX_STATE: usize = 512;
/// Bytes of a member of baggage that become an attribute.
const MAX_MEMBER: usize = 256;

/// The caller's place in its trace; none if it says nothing valid. Of its baggage the members `wanted`.
pub(super) fn read(headers: &HeaderMap, wanted: &[String]) -> Option<Context> {
    let pairs = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let headers: Headers<'_> = pairs.collect();
    let parent = w3c::read(&headers)?.context;
    let mut trace = [0; 16];
    let (high, low) = trace.split_at_mut(8);
    high.copy_from_slice(&parent.trace.high().to_be_bytes());
    low.copy_from_slice(&parent.trace.low().to_be_bytes());
    let mut carried = Carried::default();
    for member in tracestate::members(headers.tracestate()) {
        let (Ok(key), Ok(value)) = (str::from_utf8(member.key), str::from_utf8(member.value))
        else {
            continue;
        };
        let comma = usize::from(!carried.state.is_empty());
        if carried.state.len() + comma + key.len() + 1 + value.len() > MAX_STATE {
            break;
        }
        if comma > 0 {
            carried.state.push(',');
        }
        carried.state.push_str(key);
        carried.state.push('=');
        carried.state.push_str(value);
    }
    for name in wanted {
        let Some(member) = baggage::find(headers.baggage(), name.as_bytes()) else { continue };
        let mut bytes = [0; MAX_MEMBER];
        let mut out = Writer::new(&mut bytes);
        member.decode(&mut out);
        let length = out.length();
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        carried.baggage.push((name.clone(), text.into_owned()));
    }
    let span = parent.span.value().to_be_bytes();
    Some(Context::new(trace, span, parent.decision.sampled(), carried))
}
