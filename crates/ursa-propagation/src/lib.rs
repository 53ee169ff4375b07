//! Trace context and baggage in the headers of requests: read, decided on, written.
//!
//! Around a tracer that knows W3C Trace Context only, [`extract()`] makes of whatever the caller sent what the
//! tracer shall see, and [`inject()`] makes of what the tracer wrote every format that the list ([`Formats`])
//! names. Both see the request's headers once ([`Headers`]) and answer with a list of [`Changes`]. One module
//! per format holds its parser and its writer, for themselves too. [`baggage::Rules`] say what becomes of baggage.
//!
//! Bounds: nothing is allocated. A header that is written has room for [`TRACESTATE_MAX`] bytes and less; of
//! `tracestate` and `baggage` [`LINES_MAX`] lines are read, of all else the first. Every function is total: whatever
//! the bytes, it answers, and what is not valid is as if it were not there.
//!
//! Not here: clocks, randomness (it comes in as an argument), sampling of requests that bring no context, and
//! whoever sets the headers.

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod b3;
pub mod b3multi;
pub mod baggage;
mod changes;
mod context;
pub mod datadog;
mod extract;
mod format;
mod headers;
mod inject;
pub mod jaeger;
pub mod ot;
mod text;
pub mod tracestate;
pub mod w3c;
mod writer;
pub mod xray;

pub use changes::{Changes, TRACESTATE_MAX};
pub use context::{Context, Decision, Parsed, SpanId, TraceId};
pub use extract::{Extracted, extract, read};
pub use format::{Format, Formats};
pub use headers::{Header, Headers, LINES_MAX, Lines};
pub use inject::inject;
pub use writer::Writer;
