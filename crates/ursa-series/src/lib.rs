//! Metric series in flight: read in every exposition format, shaped into final names and labels, and
//! written for Prometheus or as OTLP.
//!
//! ```text
//! bytes ──► Parser ──► Pass (select, rename, label, limit) ──► TextWriter | OtlpWriter ──► bytes
//! ```
//!
//! Nothing is kept whole: a parser is fed pieces as they arrive, hands on one point after the other
//! ([`Sink`]), and what is written is taken away while the rest still comes. What must be remembered
//! from one collection to the next (which series were ever used, what a counter was at) has a bound,
//! and is forgotten when the series is.
//!
//! Formats: Prometheus text 0.0.4 and 1.0.0, OpenMetrics 1.0, Prometheus protobuf (delimited, native
//! histograms), OTLP metrics 1.x; names in UTF-8 and their escaping as Prometheus 3 has it.
//!
//! Not here: sockets, clocks, timers; from where metrics are collected and who asks for them.

mod durations;
mod entity;
mod escape;
mod exemplar;
mod labels;
mod negotiate;
mod otlp;
mod parse;
mod point;
mod select;
mod shape;
mod write;

pub use durations::{DURATIONS, Duration, Durations, KEEP_SECONDS, MAX_DURATIONS, OTHER};
pub use entity::Entities;
pub use escape::Escaping;
pub use exemplar::{Exemplars, RequestSpan, SpanExemplar, spans};
pub use labels::Labels;
pub use negotiate::{APPLICATION_ACCEPT, Exposition, negotiate};
pub use otlp::{MAX_REQUEST, MAX_STREAMS, OtlpWriter, Request, Source, Streams};
pub use parse::{
    Format, MAX_BUCKETS, MAX_FAMILIES, MAX_LABELS, MAX_LINE, MAX_MESSAGE, ParseError, Parser,
    Problem,
};
pub use point::{Bucket, Exemplar, Family, Histogram, Kind, Native, Point, Sink, Summary, Value};
pub use select::{SelectError, Selector};
pub use shape::{Counts, KEEP, MAX_SERIES, OVERFLOW_LABEL, Origin, Pass, Shape};
pub use write::{MAX_HELD, TextWriter};
