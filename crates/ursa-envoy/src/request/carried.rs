//! Which of the trace context that a request brings counts, and what becomes of the rest.

use std::cmp::Ordering;

use serde::Serialize;
use ursa_propagation::datadog::Datadog;
use ursa_propagation::{Decision, Format, Header, Headers, TraceId, read};

use super::Request;
use super::context::{Brought, Lower};
use crate::proxy::{HttpListener, Tracer};

/// Trace context that a request brings in one format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Carried {
    /// The format, as policies name it.
    pub format: &'static str,
    /// Those of its headers that came.
    pub headers: Vec<&'static str>,
    /// What becomes of it.
    pub fate: Fate,
    /// Of [`Fate::Adds`], what of it goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<&'static str>,
    /// Whether a header of it came more than once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub repeated: bool,
}

/// What becomes of trace context in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It says whose span the caller's is.
    Counts,
    /// It is no such context, and the next format is looked at, if there is one.
    Unreadable,
    /// It is there more than once, so that none counts.
    Contradicts,
    /// It is not looked at: a format before it decided.
    NotLookedAt,
    /// A format before it decided, of the same trace: what the other cannot say goes on.
    Adds,
    /// It is not read here, and goes on as it is.
    Passes,
    /// It is not read here, and does not go on: the module takes W3C's headers off where they are not listed.
    Removed,
    /// The same of every format, as `stripUnlisted` says.
    Stripped,
}

impl Carried {
    /// The same in words. Of what is not read here, `is_listed` says whether policies ask for it.
    pub fn words(&self, is_listed: bool) -> String {
        let place = if is_listed {
            "is there and in the list, but not read without the module"
        } else {
            "is there, but not in the list"
        };
        let what = match self.headers.as_slice() {
            [only] if *only == self.format => format!("`{only}`"),
            headers => format!("`{}` ({})", self.format, headers.join(", ")),
        };
        match self.fate {
            Fate::Counts if self.repeated => format!("{what} counts, the first line of it"),
            Fate::Counts => format!("{what} counts"),
            Fate::Unreadable => format!("{what} is there, but cannot be read"),
            Fate::Contradicts => format!("{what} is there more than once, so none of it counts"),
            Fate::NotLookedAt => format!("{what} is there too, and not looked at"),
            Fate::Adds => {
                let kept = self.kept.join(", ");
                format!("{what} is there too, of the same trace, which keeps its {kept}")
            }
            Fate::Passes => format!("{what} {place}: it passes as it is"),
            Fate::Removed => format!("{what} {place}: it is removed"),
            Fate::Stripped => format!("{what} {place}: `stripUnlisted` removes it"),
        }
    }
}

/// What `request` carries, of which `brought` counts at `listener`: what is read in the order in which it is, then the rest.
/// `is_recorded` says whether what goes on says so.
pub(super) fn carried(
    listener: &HttpListener,
    request: &Request,
    brought: &Brought,
    is_recorded: bool,
) -> Vec<Carried> {
    let lower = Lower::of(request);
    let headers = lower.headers();
    let order = read_by(listener);
    let has_module = listener.propagation.is_some();
    let counts = match brought {
        Brought::Parent { format, .. } => Some(*format),
        Brought::Nothing | Brought::Broken(_) => None,
    };
    let trace = counts.filter(|_| has_module).and_then(|format| read(format, &headers)?.trace);
    let ends = |format: &Format| match brought {
        Brought::Broken(header) => format.headers().iter().any(|own| own.name() == *header),
        _ => counts == Some(*format),
    };
    let end = order.iter().position(ends).unwrap_or(order.len());
    let of_read = order.iter().enumerate().map(|(at, format)| {
        let kept = match (at.cmp(&end), trace) {
            (Ordering::Greater, Some(trace)) => kept(*format, trace, is_recorded, &headers),
            _ => Vec::new(),
        };
        let fate = match at.cmp(&end) {
            Ordering::Greater if kept.is_empty() => Fate::NotLookedAt,
            Ordering::Greater => Fate::Adds,
            Ordering::Equal if counts.is_some() => Fate::Counts,
            _ if has_module && contradicts(*format, &headers) => Fate::Contradicts,
            _ => Fate::Unreadable,
        };
        (*format, fate, kept)
    });
    let of_traces = Format::ALL.into_iter().filter(|format| *format != Format::W3cBaggage);
    let unread = of_traces.filter(|format| !order.contains(format));
    let of_unread = unread.map(|format| (format, unread_fate(listener, format), Vec::new()));
    let there = |format: Format| {
        let is_there = |header: &&Header| headers.has(**header);
        let found = format.headers().iter().filter(is_there).map(|header| header.name());
        Some(found.collect::<Vec<_>>()).filter(|headers| !headers.is_empty())
    };
    let is_repeated = |format: Format| {
        let lines =
            |header: &&Header| **header != Header::Tracestate && headers.is_repeated(**header);
        format.headers().iter().any(|header| lines(&header))
    };
    of_read
        .chain(of_unread)
        .filter_map(|(format, fate, kept)| {
            let (headers, repeated) = (there(format)?, is_repeated(format));
            Some(Carried { format: format.name(), headers, fate, kept, repeated })
        })
        .collect()
}

/// The formats of traces that are read, in their order.
fn read_by(listener: &HttpListener) -> Vec<Format> {
    if let Some(Tracer::Zipkin { w3c, .. }) = listener.tracing.as_ref().map(|it| it.tracer) {
        let w3c = w3c.then_some(Format::W3cTracecontext);
        return [Format::B3, Format::B3multi].into_iter().chain(w3c).collect();
    }
    match &listener.propagation {
        Some(hooks) => hooks.formats.iter().filter(|it| *it != Format::W3cBaggage).collect(),
        None => vec![Format::W3cTracecontext],
    }
}

/// Whether the module takes none of several.
fn contradicts(format: Format, headers: &Headers<'_>) -> bool {
    format == Format::W3cTracecontext && headers.is_repeated(Header::Traceparent)
}

/// What the module keeps of a format that is listed behind the one that counts: of the same trace, what that cannot say.
fn kept(
    format: Format,
    trace: TraceId,
    is_recorded: bool,
    headers: &Headers<'_>,
) -> Vec<&'static str> {
    let Some(parsed) = read(format, headers).filter(|it| it.trace == Some(trace)) else {
        return Vec::new();
    };
    let list: Vec<(bool, &str)> = match format {
        Format::W3cTracecontext => vec![(headers.has(Header::Tracestate), "`tracestate`")],
        Format::W3cBaggage => Vec::new(),
        Format::B3 | Format::B3multi | Format::Jaeger => {
            vec![(is_recorded && parsed.decision == Decision::Debug, "debug flag")]
        }
        Format::Datadog => {
            let came = Datadog::parse(headers);
            let priority = came.and_then(|came| came.priority);
            vec![
                (priority.is_some_and(|it| (it > 0) == is_recorded), "priority"),
                (came.is_some_and(|came| came.origin.is_some()), "origin"),
                (came.is_some_and(|came| !came.tags.is_empty()), "tags"),
            ]
        }
        Format::Xray => vec![(has_other_fields(headers), "other fields")],
    };
    list.into_iter().filter_map(|(is_kept, what)| is_kept.then_some(what)).collect()
}

/// Whether more came than is written anew; `Self` is a load balancer's, and goes.
fn has_other_fields(headers: &Headers<'_>) -> bool {
    let fields = headers.first(Header::Xray).unwrap_or_default().split(|byte| *byte == b';');
    let names = fields.filter_map(|field| field.trim_ascii().split(|byte| *byte == b'=').next());
    let ours: [&[u8]; 5] = [b"Root", b"Parent", b"Sampled", b"Self", b""];
    names.into_iter().any(|name| !ours.contains(&name))
}

/// What becomes of a format that is not read.
fn unread_fate(listener: &HttpListener, format: Format) -> Fate {
    let hooks = listener.propagation.as_ref();
    if hooks.is_some_and(|it| it.formats.strips() && !it.formats.contains(format)) {
        return Fate::Stripped;
    }
    match format {
        Format::W3cTracecontext if hooks.is_some() => Fate::Removed,
        _ => Fate::Passes,
    }
}
