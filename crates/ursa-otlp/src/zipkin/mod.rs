//! Zipkin's spans: v1 JSON, v2 JSON and protobuf, into OTLP and back.
//!
//! The form in which they wait and travel is a JSON list of v2 spans ([`Form::Zipkin`](crate::Form)).
//! Receivers bring the other dialects into it without loss; a list in it is kept as it came.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | `traceId` of 64 or 128 bits | `trace_id`, filled up with zeros on the left; back, with 16 digits if that half is zero |
//! | `kind`; none | `kind`; internal |
//! | `timestamp`, `duration` in µs | `start`, `end` in ns; 0 without a timestamp |
//! | `localEndpoint.serviceName` | resource attribute `service.name` |
//! | `localEndpoint` address, port | `network.local.address`, `network.local.port` |
//! | `remoteEndpoint` name, address, port | `peer.service`, `network.peer.address`, `network.peer.port`; back also from other attributes by the specification's ranking |
//! | both addresses at once | IPv4 as above, `zipkin.local.ipv6`, `zipkin.remote.ipv6` |
//! | `annotations` | `events`; back, attributes become `"name": {…}` |
//! | `tags` | text attributes; back, with the attributes of scope and resource |
//! | `tags.error`, `tags.otel.status_code` | `status` |
//! | `tags.otel.scope.name`, `….version`, `otel.dropped_…_count`, `w3c.tracestate`, `otlp.link.N` | scope, dropped counts, `trace_state`, `links` |
//! | `debug`, `shared` | `zipkin.debug`, `zipkin.shared` |
//!
//! Followed: OpenTelemetry, "OpenTelemetry to Zipkin Transformation" and "Transformation to
//! non-OTLP Formats"; where they are silent (links, trace state, resource attributes), what the
//! OpenTelemetry Collector does. Zipkin API 2, `zipkin.proto`; v1 by Zipkin's rules for reading it.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod apply;
mod envoy;
mod from_otlp;
mod list;
mod proto;
mod span;
mod to_otlp;
mod v1;

use bytes::Bytes;
use thiserror::Error;

use crate::wire::WireError;
use list::Elements;
use span::Span;

pub use apply::apply;
pub use envoy::of_envoy;
pub use from_otlp::{TraceIds, from_otlp};
pub use proto::{from_proto, to_proto};
pub use to_otlp::to_otlp;
pub use v1::from_v1_json;

/// Why bytes are not Zipkin's spans, or cannot become them.
#[derive(Debug, Error)]
pub enum ZipkinError {
    /// Text that is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// Not `[{…},{…}]`.
    #[error("the text is not a JSON list of spans")]
    List,
    /// A span that Zipkin would refuse.
    #[error("span {index} is not valid")]
    Span {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A span that cannot be, said in words.
    #[error("span {index} is not valid: {reason}")]
    Wrong {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Not protobuf.
    #[error("the bytes are not a list of spans in protobuf")]
    Proto(#[source] WireError),
    /// What came out would be larger than `limit` bytes.
    #[error("the spans take more than {limit} bytes in Zipkin's form")]
    TooLarge {
        /// The limit that was given.
        limit: usize,
    },
}

/// Counts the spans of a list of v2 JSON, all of which Zipkin would take.
///
/// # Errors
/// It is not such a list.
pub fn check(list: &[u8]) -> Result<usize, ZipkinError> {
    spans(list)?.try_fold(0_usize, |count, span| span.map(|_| count.saturating_add(1)))
}

/// The spans of a list of v2 JSON.
fn spans(
    list: &[u8],
) -> Result<impl Iterator<Item = Result<(&str, Span<'_>), ZipkinError>>, ZipkinError> {
    let list = std::str::from_utf8(list).map_err(|_| ZipkinError::Utf8)?;
    Ok(Elements::new(list).enumerate().map(|(index, text)| {
        let text = text?;
        let span: Span<'_> =
            serde_json::from_str(text).map_err(|source| ZipkinError::Span { index, source })?;
        if span.id.0 == 0 {
            return Err(ZipkinError::Wrong { index, reason: "its id is zero" });
        }
        Ok((text, span))
    }))
}

/// Joins checked lists into one, as pieces to be sent one after the other; nothing is copied.
pub fn join<'a>(lists: impl IntoIterator<Item = &'a Bytes>) -> Vec<Bytes> {
    let inner = lists.into_iter().filter_map(|list| {
        let trimmed = list.trim_ascii();
        let inner = trimmed.strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii();
        (!inner.is_empty()).then(|| list.slice_ref(inner))
    });
    let mut pieces = vec![Bytes::from_static(b"[")];
    for inner in inner {
        if pieces.len() > 1 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(inner);
    }
    pieces.push(Bytes::from_static(b"]"));
    pieces
}

/// Checked lists of at most `max_bytes` each that hold together the spans of a checked list, in order,
/// and how many each has. A span is never cut, so one that is larger makes a larger list by itself.
///
/// # Errors
/// It is not a list.
pub fn split(list: &[u8], max_bytes: usize) -> Result<Vec<(Bytes, usize)>, ZipkinError> {
    let list = std::str::from_utf8(list).map_err(|_| ZipkinError::Utf8)?;
    let (mut done, mut out, mut count) = (Vec::new(), Vec::new(), 0_usize);
    for span in Elements::new(list) {
        let span = span?;
        // With what stands before it, and the end.
        if count > 0 && out.len().saturating_add(span.len()).saturating_add(2) > max_bytes {
            done.push((end(std::mem::take(&mut out)).into(), std::mem::take(&mut count)));
        }
        separate(&mut out);
        out.extend_from_slice(span.as_bytes());
        count = count.saturating_add(1);
    }
    if count > 0 {
        done.push((end(out).into(), count));
    }
    Ok(done)
}

/// Writes what stands before a span of a list that is being written.
fn separate(out: &mut Vec<u8>) {
    out.push(if out.is_empty() { b'[' } else { b',' });
}

/// Adds a span to a list that is being written.
fn write(out: &mut Vec<u8>, span: &Span<'_>) {
    separate(out);
    serde_json::to_writer(&mut *out, span).expect("texts and numbers can be written to memory");
}

/// Ends a list that was written.
fn end(mut out: Vec<u8>) -> Vec<u8> {
    if out.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
    out
}
