//! Which of the trace context that a request brings counts, and what becomes of the rest.

use serde::Serialize;
use ursa_propagation::{Format, Header};

use super::Request;
use super::context::Brought;
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
}

/// What becomes of trace context in one format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It says whose span the caller's is.
    Counts,
    /// It is no such context, and the next format is looked at, if there is one.
    Unreadable,
    /// It is not looked at: a format before it decided.
    NotLookedAt,
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
            Fate::Counts => format!("{what} counts"),
            Fate::Unreadable => format!("{what} is there, but cannot be read"),
            Fate::NotLookedAt => format!("{what} is there too, and not looked at"),
            Fate::Passes => format!("{what} {place}: it passes as it is"),
            Fate::Removed => format!("{what} {place}: it is removed"),
            Fate::Stripped => format!("{what} {place}: `stripUnlisted` removes it"),
        }
    }
}

/// What `request` carries, of which `brought` counts at `listener`: what is read in the order in which it is, then the rest.
pub(super) fn carried(
    listener: &HttpListener,
    request: &Request,
    brought: &Brought,
) -> Vec<Carried> {
    let there = |format: Format| {
        let is_there = |header: &&Header| request.header(header.name()).is_some();
        let found = format.headers().iter().filter(is_there).map(|header| header.name());
        Some(found.collect::<Vec<_>>()).filter(|headers| !headers.is_empty())
    };
    let read = read(listener);
    let counts = match brought {
        Brought::Parent { format, .. } => Some(*format),
        Brought::Nothing | Brought::Broken(_) => None,
    };
    let ends = |format: &Format| match brought {
        Brought::Broken(header) => format.headers().iter().any(|own| own.name() == *header),
        _ => counts == Some(*format),
    };
    let end = read.iter().position(ends).unwrap_or(read.len());
    let of_read = read.iter().enumerate().map(|(at, format)| {
        let fate = match at.cmp(&end) {
            std::cmp::Ordering::Greater => Fate::NotLookedAt,
            std::cmp::Ordering::Equal if counts.is_some() => Fate::Counts,
            _ => Fate::Unreadable,
        };
        (*format, fate)
    });
    let unread = Format::ALL.into_iter().filter(|format| !read.contains(format));
    let of_unread = unread.filter_map(|format| Some((format, unread_fate(listener, format)?)));
    of_read
        .chain(of_unread)
        .filter_map(|(format, fate)| {
            Some(Carried { format: format.name(), headers: there(format)?, fate })
        })
        .collect()
}

/// The formats of traces that are read, in their order.
fn read(listener: &HttpListener) -> Vec<Format> {
    if let Some(Tracer::Zipkin { w3c, .. }) = listener.tracing.as_ref().map(|it| it.tracer) {
        let w3c = w3c.then_some(Format::W3cTracecontext);
        return [Format::B3, Format::B3multi].into_iter().chain(w3c).collect();
    }
    match &listener.propagation {
        Some(hooks) => hooks.formats.iter().filter(|it| *it != Format::W3cBaggage).collect(),
        None => vec![Format::W3cTracecontext],
    }
}

/// What becomes of a format that is not read; `None` of baggage that stays, which is no context.
fn unread_fate(listener: &HttpListener, format: Format) -> Option<Fate> {
    let hooks = listener.propagation.as_ref();
    if hooks.is_some_and(|it| it.formats.strips() && !it.formats.contains(format)) {
        return Some(Fate::Stripped);
    }
    match format {
        Format::W3cBaggage => None,
        Format::W3cTracecontext if hooks.is_some() => Some(Fate::Removed),
        _ => Some(Fate::Passes),
    }
}
