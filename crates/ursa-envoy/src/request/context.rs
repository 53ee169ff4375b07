//! What a request brings along of a trace, as the tracer comes to see it.

use ursa_propagation::{Changes, Decision, Format, Formats, Headers, Parsed, extract, read, w3c};

use super::Request;
use crate::proxy::{HttpListener, Tracer};

/// What a request brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// Nothing that counts: the request begins a trace.
    Nothing,
    /// A header that the tracer cannot read, and that it makes no span for.
    Broken(&'static str),
    /// A caller's span, or a part of what would name one.
    Parent {
        /// In which format it came.
        format: Format,
        /// How much of it came.
        extent: Extent,
        /// Whether the tracer sees it as recorded.
        sampled: bool,
        /// Whether the caller left that open.
        was_open: bool,
    },
}

/// How much a caller says of its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Which it is.
    Span,
    /// Its trace alone, as of a load balancer or a test that has no span.
    Trace,
    /// Whether one would be recorded, and no ids.
    Decision,
}

impl Extent {
    fn of(parsed: &Parsed) -> Self {
        match (parsed.trace, parsed.span) {
            (None, _) => Self::Decision,
            (Some(_), None) => Self::Trace,
            (Some(_), Some(_)) => Self::Span,
        }
    }
}

/// The headers of a request with their names in lower case, and its pseudo-headers.
#[derive(Debug, Clone)]
pub(super) struct Lower(Vec<(String, String)>);

impl Lower {
    pub(super) fn of(request: &Request) -> Self {
        let pseudo = [":method", ":authority", ":path"];
        let pseudo =
            pseudo.into_iter().filter_map(|name| Some((name.to_owned(), request.header(name)?)));
        let own = request.headers.iter();
        Self(
            pseudo
                .chain(own.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())))
                .collect(),
        )
    }

    /// Those that matter.
    pub(super) fn headers(&self) -> Headers<'_> {
        self.0.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    /// The first header of that name.
    pub(super) fn first(&self, name: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().find(|(own, _)| own.as_bytes() == name);
        found.map(|(_, value)| value.as_bytes())
    }

    /// With another value of a header, or without it.
    pub(super) fn with(&self, name: &str, value: Option<&[u8]>) -> Self {
        let mut changed = self.clone();
        changed.0.retain(|(own, _)| own != name);
        let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        changed.0.extend(value.map(|value| (name.to_owned(), value)));
        changed
    }

    /// Without the lines that repeat a header.
    fn firsts(self) -> Self {
        let mut firsts: Vec<(String, String)> = Vec::new();
        for (name, value) in self.0 {
            if firsts.iter().all(|(known, _)| *known != name) {
                firsts.push((name, value));
            }
        }
        Self(firsts)
    }
}

/// What `request` brings, and the request as the tracer and the routes see it.
pub(super) fn brought(listener: &HttpListener, request: &Request) -> (Brought, Request) {
    let tracer = listener.tracing.as_ref().map(|tracing| tracing.tracer);
    let lower = Lower::of(request);
    if let Some(Tracer::Zipkin { w3c, .. }) = tracer {
        return (of_zipkin(w3c, &lower.firsts()), request.clone());
    }
    match &listener.propagation {
        None => (of_tracer(&lower), request.clone()),
        Some(hooks) => of_module(hooks.formats, request, &lower),
    }
}

/// As Envoy's tracer reads it: the first line, whatever the others say.
fn of_tracer(lower: &Lower) -> Brought {
    let Some(value) = lower.first(b"traceparent") else { return Brought::Nothing };
    let parent = w3c::parse(value).filter(|_| value.len() == w3c::LENGTH);
    parent.map_or(Brought::Broken("traceparent"), |parent| Brought::Parent {
        format: Format::W3cTracecontext,
        extent: Extent::Span,
        sampled: parent.context.decision.sampled(),
        was_open: false,
    })
}

/// As Envoy's Zipkin tracer reads it: B3 first, and nothing where that is broken.
fn of_zipkin(w3c: bool, firsts: &Lower) -> Brought {
    let headers = firsts.headers();
    let list = |list: &[Format]| {
        list.iter().fold(Formats::none(), |all, format| all.with(*format).unwrap_or(all))
    };
    let read = |formats: &[Format]| parent(&headers, list(formats), &mut Changes::default());
    let names = |name: &[u8]| firsts.first(name).is_some();
    let is_broken = |format| read(&[format]) == Brought::Nothing;
    if names(b"b3") {
        return if is_broken(Format::B3) { Brought::Broken("b3") } else { read(&[Format::B3]) };
    }
    if names(b"x-b3-traceid") && names(b"x-b3-spanid") && is_broken(Format::B3multi) {
        return Brought::Broken("x-b3-traceid");
    }
    let w3c = w3c.then_some(Format::W3cTracecontext);
    read(&[Format::B3multi].into_iter().chain(w3c).collect::<Vec<_>>())
}

/// As the module's first hook makes it.
fn of_module(formats: Formats, request: &Request, lower: &Lower) -> (Brought, Request) {
    let mut changes = Changes::default();
    let brought = parent(&lower.headers(), formats, &mut changes);
    let mut seen = request.clone();
    for (header, value) in changes.iter() {
        let name = header.name();
        seen.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            seen.headers.push((name.to_owned(), String::from_utf8_lossy(value).into_owned()));
        }
    }
    (brought, seen)
}

/// What the first of the formats that is there and valid says. Ids that would be invented are made of ones here.
fn parent(headers: &Headers<'_>, formats: Formats, changes: &mut Changes) -> Brought {
    let extracted = extract(headers, formats, || u64::MAX, changes);
    match (extracted.origin, extracted.context) {
        (Some(format), Some(context)) => Brought::Parent {
            format,
            extent: read(format, headers).as_ref().map_or(Extent::Span, Extent::of),
            sampled: context.decision.sampled(),
            was_open: extracted.said == Decision::Defer,
        },
        _ => Brought::Nothing,
    }
}
