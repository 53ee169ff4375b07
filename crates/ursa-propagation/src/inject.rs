//! On the way out: what the tracer wrote, in every format that is listed.

use crate::changes::Changes;
use crate::context::{Context, Decision, TraceId};
use crate::extract::read;
use crate::format::{Format, Formats};
use crate::headers::{Header, Headers};
use crate::{b3, b3multi, datadog, jaeger, w3c, xray};

/// Bytes of `x-amzn-trace-id` that are written.
const XRAY_MAX: usize = 512;

/// Puts into `changes` what makes the request to the next service say, in every listed format, what the tracer's
/// `traceparent` says.
///
/// Headers are set, never added: on a retry those of the attempt before are still there. Debug stays if the caller
/// said so of this trace. If W3C is not listed, `traceparent` and `tracestate` go; an empty `tracestate` goes always.
/// Formats that are not listed stay as they came, or go if [`Formats::strips`]. Without a valid `traceparent` only
/// the latter is done.
pub fn inject(headers: &Headers<'_>, formats: Formats, changes: &mut Changes) {
    let parent = headers.first(Header::Traceparent).and_then(w3c::parse);
    if let Some(w3c::Traceparent { mut context, is_00: true }) = parent {
        if context.decision.sampled() && is_debug(context.trace, headers, formats) {
            context.decision = Decision::Debug;
        }
        for format in formats.iter() {
            set(format, &context, headers, changes);
        }
        if !formats.contains(Format::W3cTracecontext) {
            remove(Format::W3cTracecontext, headers, changes);
        }
    }
    if formats.strips() {
        for format in Format::ALL.into_iter().filter(|format| !formats.contains(*format)) {
            remove(format, headers, changes);
        }
    }
}

fn set(format: Format, context: &Context, headers: &Headers<'_>, changes: &mut Changes) {
    match format {
        Format::W3cTracecontext => {
            let empty = headers.tracestate().iter().all(|line| line.trim_ascii().is_empty());
            if empty && headers.has(Header::Tracestate) {
                changes.remove(Header::Tracestate);
            }
        }
        Format::W3cBaggage => {}
        Format::B3 => {
            changes.set(Header::B3, 51, |out| b3::write(context, out));
        }
        Format::B3multi => b3multi::set(context, headers, changes),
        // Its tracers take a low half of zero for no trace.
        Format::Datadog if context.trace.low() == 0 => remove(format, headers, changes),
        Format::Datadog => datadog::set(context, headers, changes),
        Format::Xray => {
            let before = headers.first(Header::Xray).unwrap_or_default();
            let same =
                xray::parse(before).is_some_and(|parsed| parsed.trace == Some(context.trace));
            let before = if same { before } else { &[] };
            changes.set(Header::Xray, XRAY_MAX, |out| xray::write(context, before, out));
        }
        Format::Jaeger => {
            changes.set(Header::Jaeger, 56, |out| jaeger::write(context, out));
        }
    }
}

fn remove(format: Format, headers: &Headers<'_>, changes: &mut Changes) {
    for header in format.headers() {
        if headers.has(*header) {
            changes.remove(*header);
        }
    }
}

/// Whether a listed format that knows debug says so of this trace.
fn is_debug(trace: TraceId, headers: &Headers<'_>, formats: Formats) -> bool {
    let knows = |format: &Format| matches!(format, Format::B3 | Format::B3multi | Format::Jaeger);
    formats
        .iter()
        .filter(knows)
        .filter_map(|format| read(format, headers))
        .any(|parsed| parsed.trace == Some(trace) && parsed.decision == Decision::Debug)
}
