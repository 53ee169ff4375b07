//! On the way in: what the tracer shall see.

use crate::changes::{Changes, TRACESTATE_MAX};
use crate::context::{Context, Decision, Parsed, SpanId, TraceId};
use crate::datadog::Datadog;
use crate::format::{Format, Formats};
use crate::headers::{Header, Headers, Lines};
use crate::ot::Ot;
use crate::tracestate::{self, Own, Threshold};
use crate::{b3, b3multi, jaeger, w3c, xray};

/// What was found, besides the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extracted {
    /// The format that counts; none if the request brings no context, so that the tracer starts a trace.
    pub origin: Option<Format>,
    /// What the caller decided about sampling.
    pub said: Decision,
    /// What the tracer sees: the parent, with a decision. None as for `origin`.
    pub context: Option<Context>,
}

/// Puts into `changes` what makes `traceparent` and `tracestate` say what the request brings.
///
/// - The first listed format that is there and valid counts. If that is W3C, nothing changes, except that a version
///   other than 00 is written as 00, and several lines of `tracestate` as one, since tracers read the first.
/// - If another counts, `traceparent` is set. `tracestate` stays if it belongs to the same trace, else it goes.
///   What Datadog says besides is put into it as `dd`.
/// - If none counts, `traceparent` and `tracestate` go: a tracer that meets a broken one would make no span at all.
/// - A decision is kept. Where there is none, the trace's random bits are compared with the ratio's threshold, which
///   is then written as `th` of `ot`, so that it is known how much the sampled trace stands for. A ratio of 1 leaves
///   the decision to whoever comes next, and writes none.
/// - A decision without ids, a trace without a span: what is missing is made of `random`. If the decision is debug,
///   B3's headers get the ids too, by which [`inject()`](crate::inject()) knows that it is this trace's.
pub fn extract(
    headers: &Headers<'_>,
    formats: Formats,
    mut random: impl FnMut() -> u64,
    changes: &mut Changes,
) -> Extracted {
    let mut datadog = None;
    let found = formats.iter().find_map(|format| {
        if format != Format::Datadog {
            return Some((format, read(format, headers)?));
        }
        datadog = Datadog::parse(headers);
        Some((format, datadog?.parsed()))
    });
    let Some((origin, parsed)) = found else {
        for header in [Header::Traceparent, Header::Tracestate] {
            if headers.has(header) {
                changes.remove(header);
            }
        }
        return Extracted { origin: None, said: Decision::Defer, context: None };
    };
    let parent = w3c::read(headers);
    let same = parent.is_some_and(|parent| Some(parent.context.trace) == parsed.trace);
    let lines = if same { *headers.tracestate() } else { Lines::default() };
    let is_w3c = origin == Format::W3cTracecontext;

    let trace = parsed.trace.unwrap_or_else(|| TraceId::invent(random(), random()));
    let span = parsed.span.unwrap_or_else(|| SpanId::invent(random()));
    let mut own = Own { datadog: datadog.as_ref(), threshold: Threshold::Keep };
    let mut decision = parsed.decision;
    if !is_w3c {
        let ot = Ot::of(&lines);
        let randomness = ot.randomness.unwrap_or(trace.randomness());
        let mut keeps = true;
        if decision == Decision::Defer {
            let threshold = formats.threshold();
            decision = Decision::of(randomness >= threshold);
            keeps = false;
            // All of them: then it is not here that it is decided, and nothing is known of the share.
            if decision.sampled() && threshold > 0 {
                own.threshold = Threshold::Set(threshold);
            }
        } else if decision.sampled() {
            keeps = ot.threshold.is_none_or(|threshold| randomness >= threshold);
        }
        if !keeps && ot.threshold.is_some() && own.threshold == Threshold::Keep {
            own.threshold = Threshold::Remove;
        }
    }
    let context = Context { trace, span, decision };

    if !(is_w3c && parent.is_some_and(|parent| parent.is_00)) {
        changes.set(Header::Traceparent, w3c::LENGTH, |out| w3c::write(&context, out));
    }
    if !(same && own.is_empty() && lines.count() <= 1) {
        let set = changes.set(Header::Tracestate, TRACESTATE_MAX, |out| {
            tracestate::write(&lines, &own, out);
        });
        if !set && headers.has(Header::Tracestate) {
            changes.remove(Header::Tracestate);
        }
    }
    if parsed.trace.is_none() && decision == Decision::Debug {
        mark_debug(origin, &context, changes);
    }
    Extracted { origin: Some(origin), said: parsed.decision, context: Some(context) }
}

/// What a format's headers say, if that is valid; nothing of [`Format::W3cBaggage`].
pub fn read(format: Format, headers: &Headers<'_>) -> Option<Parsed> {
    match format {
        Format::W3cTracecontext => w3c::read(headers).map(|parent| parent.context.into()),
        Format::W3cBaggage => None,
        Format::B3 => b3::parse(headers.first(Header::B3)?),
        Format::B3multi => b3multi::parse(headers),
        Format::Datadog => Some(Datadog::parse(headers)?.parsed()),
        Format::Xray => xray::parse(headers.first(Header::Xray)?),
        Format::Jaeger => jaeger::parse(headers.first(Header::Jaeger)?),
    }
}

fn mark_debug(origin: Format, context: &Context, changes: &mut Changes) {
    match origin {
        Format::B3 => {
            changes.set(Header::B3, 51, |out| b3::write(context, out));
        }
        Format::B3multi => {
            changes.set(Header::B3TraceId, 32, |out| context.trace.write_short(out));
            changes.set(Header::B3SpanId, 16, |out| context.span.write(out));
        }
        _ => {}
    }
}
