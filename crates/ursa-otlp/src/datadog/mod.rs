//! Datadog's spans as its trace agent takes them, into OTLP and back.
//!
//! The form in which they wait and travel is what `/v0.4/traces` takes
//! ([`Form::Datadog`](crate::Form)): a list of traces, each a list of spans, each a map, in
//! `MessagePack`. v0.3 is the same; v0.5 (texts in a table) and JSON are brought into it without
//! loss. What came in it is kept as it came.
//!
//! | Datadog | OTLP |
//! |---|---|
//! | `trace_id`, `meta._dd.p.tid` of the trace's first span | low and high half of `trace_id` |
//! | `resource`, or `name` without one | `name` |
//! | `name`, `resource`, `type` | `operation.name`, `resource.name`, `span.type`; back without them: by kind and protocol, the name, by kind |
//! | `service`, `meta.env`, `meta.version` | resource `service.name`, `deployment.environment.name`, `service.version` |
//! | `meta.span.kind`, else by `type` | `kind` |
//! | `start`, `duration` | `start`, `end` |
//! | `error`, `meta.error.message` | `status`; back, also from the event `exception` |
//! | `meta` | text attributes; back, what is no number, of resource and scope too |
//! | `metrics` | number attributes; back, integers beyond 2^53 are text |
//! | `meta_struct` | bytes under `datadog.meta_struct.` |
//! | `span_links` | `links` |
//! | `span_events` | `events`; back, as JSON in `meta.events`, which every agent reads |
//! | `metrics._sampling_priority_v1` | the same attribute; back, 1 if no span of a trace has it, so that the agent keeps what was sampled before |
//! | `meta.otel.scope.name`, `….version`, `otel.status_code`, `w3c.tracestate` | scope, `status`, `trace_state` |
//!
//! Followed: Datadog's trace agent API and its documented mapping of OTLP (`operation.name` and
//! its kin, HTTP tags).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod apply;
mod from_otlp;
mod json;
mod msgpack;
mod span;
mod table;
mod to_otlp;

use bytes::Bytes;
use thiserror::Error;

use msgpack::{Reader, put_list};
use span::Span;

pub use apply::apply;
pub use from_otlp::{Services, from_otlp};
pub use json::from_json;
pub use table::from_v05;
pub use to_otlp::to_otlp;

/// Why bytes are not Datadog's traces, or cannot become them.
#[derive(Debug, Error)]
pub enum DatadogError {
    /// The bytes end before what they announce.
    #[error("the message is cut off")]
    Truncated,
    /// A byte that begins no value.
    #[error("the bytes are not MessagePack")]
    Head,
    /// A value of another type.
    #[error("{what} must be {wanted}")]
    Type {
        /// Which value.
        what: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// Nested deeper than any span is.
    #[error("lists and maps are nested too deep")]
    Depth,
    /// Bytes behind the list of traces.
    #[error("something follows the list of traces")]
    Trailing,
    /// A span whose id or trace id is missing or zero.
    #[error("a span has no id or no trace id")]
    Id,
    /// A text that the table of texts does not have.
    #[error("text {index} is not in the table of {texts}")]
    Text {
        /// Which was asked for.
        index: u64,
        /// How many there are.
        texts: usize,
    },
    /// More texts than a table may have.
    #[error("the table has more than {limit} texts")]
    Table {
        /// The limit.
        limit: usize,
    },
    /// Not JSON.
    #[error("the text is not JSON")]
    Json(#[source] serde_json::Error),
    /// What came out would be larger than `limit` bytes.
    #[error("the spans take more than {limit} bytes in Datadog's form")]
    TooLarge {
        /// The limit that was given.
        limit: usize,
    },
}

/// Bytes before what a list holds, at most.
const LIST_HEAD: usize = 5;

/// How much a message holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Traces, or parts of them.
    pub traces: usize,
    /// Spans of all of them.
    pub spans: usize,
}

/// Counts the traces and spans of a v0.4 (or v0.3) message, every field that is known having been
/// looked at.
///
/// # Errors
/// It is not such a message.
pub fn check(message: &[u8]) -> Result<Count, DatadogError> {
    let mut count = Count::default();
    for_each_trace(message, |spans| {
        count.traces = count.traces.saturating_add(1);
        count.spans = count.spans.saturating_add(spans.count as usize);
    })?;
    Ok(count)
}

/// The spans of one trace, all of which have been checked.
#[derive(Debug, Clone, Copy)]
struct Trace<'a> {
    count: u32,
    reader: Reader<'a>,
}

impl<'a> Trace<'a> {
    fn spans(self) -> impl Iterator<Item = Span<'a>> {
        self.raw_spans().map(|(span, _)| span)
    }

    /// The spans, each with its bytes.
    fn raw_spans(self) -> impl Iterator<Item = (Span<'a>, &'a [u8])> + Clone {
        let mut reader = self.reader;
        (0..self.count).map_while(move |_| {
            let start = reader;
            let span = Span::read(&mut reader).ok()?;
            Some((span, start.until(reader)))
        })
    }
}

fn for_each_trace<'a>(
    message: &'a [u8],
    mut visit: impl FnMut(Trace<'a>),
) -> Result<(), DatadogError> {
    let mut reader = Reader::new(message);
    for _ in 0..reader.list("the message")? {
        let count = reader.list("a trace")?;
        let trace = Trace { count, reader };
        for _ in 0..count {
            Span::read(&mut reader)?;
        }
        visit(trace);
    }
    if reader.rest().is_empty() { Ok(()) } else { Err(DatadogError::Trailing) }
}

/// Checked messages as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// How many traces there are, for `X-Datadog-Trace-Count`.
    pub traces: usize,
    /// To be sent one after the other.
    pub pieces: Vec<Bytes>,
}

/// Joins checked messages into one; nothing is copied.
pub fn join<'a>(messages: impl IntoIterator<Item = &'a Bytes>) -> Joined {
    let mut traces = 0_u32;
    let mut pieces = vec![Bytes::new()];
    for message in messages {
        let mut reader = Reader::new(message);
        if let Ok(count @ 1..) = reader.list("the message") {
            traces = traces.saturating_add(count);
            pieces.push(message.slice_ref(reader.rest()));
        }
    }
    let mut head = Vec::new();
    put_list(&mut head, traces);
    if let Some(first) = pieces.first_mut() {
        *first = head.into();
    }
    Joined { traces: traces as usize, pieces }
}

/// Checked messages of at most `max_bytes` each that hold together the traces of a checked message, in
/// order, and how many spans each has. A trace is never cut, since its first span speaks for all of
/// them, so one that is larger makes a larger message by itself.
///
/// # Errors
/// It is not such a message.
pub fn split(message: &[u8], max_bytes: usize) -> Result<Vec<(Bytes, usize)>, DatadogError> {
    let mut done = Vec::new();
    let (mut body, mut traces, mut spans) = (Vec::new(), 0_u32, 0_usize);
    let mut end = |body: &mut Vec<u8>, traces: &mut u32, spans: &mut usize| {
        let mut whole = Vec::with_capacity(body.len().saturating_add(LIST_HEAD));
        put_list(&mut whole, std::mem::take(traces));
        whole.append(body);
        done.push((whole.into(), std::mem::take(spans)));
    };
    for_each_trace(message, |trace| {
        let raw = trace.raw_spans().map(|(_, raw)| raw);
        let length = raw.clone().map(<[u8]>::len).fold(2 * LIST_HEAD, usize::saturating_add);
        if traces > 0 && body.len().saturating_add(length) > max_bytes {
            end(&mut body, &mut traces, &mut spans);
        }
        put_list(&mut body, trace.count);
        raw.for_each(|raw| body.extend_from_slice(raw));
        traces = traces.saturating_add(1);
        spans = spans.saturating_add(trace.count as usize);
    })?;
    if traces > 0 {
        end(&mut body, &mut traces, &mut spans);
    }
    Ok(done)
}
