//! What a request brings along of a trace, as the tracer comes to see it.

use ursa_propagation::{Changes, Decision, Format, Formats, Headers, extract, w3c};

use super::Request;
use crate::proxy::{HttpListener, Tracer};

/// What a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// Nothing that counts: the request begins a trace.
    Nothing,
    /// A header that the tracer cannot read, and that it makes no span for.
    Broken(&'static str),
    /// A caller's span.
    Parent {
        /// In which format it came.
        format: Format,
        /// Whether the tracer sees it as recorded.
        sampled: bool,
        /// Whether the caller left that open.
        was_open: bool,
    },
}

/// What `request` brings, and the request as the tracer and the routes see it.
pub(super) fn brought(listener: &HttpListener, request: &Request) -> (Brought, Request) {
    let tracer = listener.tracing.as_ref().map(|tracing| tracing.tracer);
    if let Some(Tracer::Zipkin { w3c, .. }) = tracer {
        return (of_zipkin(w3c, request), request.clone());
    }
    match &listener.propagation {
        None => (of_tracer(request), request.clone()),
        Some(hooks) => of_module(hooks.formats, request),
    }
}

/// As Envoy's tracer reads it.
fn of_tracer(request: &Request) -> Brought {
    let Some(value) = request.header("traceparent") else { return Brought::Nothing };
    let parent = w3c::parse(value.as_bytes()).filter(|_| value.len() == w3c::LENGTH);
    parent.map_or(Brought::Broken("traceparent"), |parent| Brought::Parent {
        format: Format::W3cTracecontext,
        sampled: parent.context.decision.sampled(),
        was_open: false,
    })
}

/// As Envoy's Zipkin tracer reads it: B3 first, and nothing where that is broken.
fn of_zipkin(w3c: bool, request: &Request) -> Brought {
    let list = |list: &[Format]| {
        list.iter().fold(Formats::none(), |all, format| all.with(*format).unwrap_or(all))
    };
    let read = |formats: &[Format]| of_module(list(formats), request).0;
    let names = |name: &str| request.header(name).is_some();
    let is_broken = |format| read(&[format]) == Brought::Nothing;
    if names("b3") {
        return if is_broken(Format::B3) { Brought::Broken("b3") } else { read(&[Format::B3]) };
    }
    if names("x-b3-traceid") && names("x-b3-spanid") && is_broken(Format::B3multi) {
        return Brought::Broken("x-b3-traceid");
    }
    let w3c = w3c.then_some(Format::W3cTracecontext);
    read(&[Format::B3multi].into_iter().chain(w3c).collect::<Vec<_>>())
}

/// As the module's first hook makes it. Ids that it would invent are made of ones here.
fn of_module(formats: Formats, request: &Request) -> (Brought, Request) {
    let lower: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let headers: Headers<'_> =
        lower.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut changes = Changes::default();
    let extracted = extract(&headers, formats, || u64::MAX, &mut changes);
    let mut seen = request.clone();
    for (header, value) in changes.iter() {
        let name = header.name();
        seen.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            seen.headers.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
        }
    }
    let brought = match (extracted.origin, extracted.context) {
        (Some(format), Some(context)) => Brought::Parent {
            format,
            sampled: context.decision.sampled(),
            was_open: extracted.said == Decision::Defer,
        },
        _ => Brought::Nothing,
    };
    (brought, seen)
}
