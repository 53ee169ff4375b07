//! What a request brings along of a trace, as the tracer comes to see it.

use ursa_propagation::{Changes, Decision, Format, Formats, Headers, extract, w3c};

use super::Request;
use crate::module::Propagation;

/// What a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// Nothing that counts: the request begins a trace.
    Nothing,
    /// A `traceparent` that the tracer cannot read.
    Broken,
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
pub(super) fn brought(propagation: Option<&Propagation>, request: &Request) -> (Brought, Request) {
    let formats = propagation.map(|it| it.formats.lines().next().unwrap_or_default());
    match formats.and_then(|formats| Formats::parse(formats.as_bytes())) {
        None => (of_tracer(request), request.clone()),
        Some(formats) => of_module(formats, request),
    }
}

/// As Envoy's tracer reads it.
fn of_tracer(request: &Request) -> Brought {
    let Some(value) = request.header("traceparent") else { return Brought::Nothing };
    let parent = w3c::parse(value.as_bytes()).filter(|_| value.len() == w3c::LENGTH);
    parent.map_or(Brought::Broken, |parent| Brought::Parent {
        format: Format::W3cTracecontext,
        sampled: parent.context.decision.sampled(),
        was_open: false,
    })
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
