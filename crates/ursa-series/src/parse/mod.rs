//! Reading what Prometheus would read, piece by piece.
//!
//! Followed: Prometheus' "Exposition formats" (text 0.0.4 and 1.0.0 with quoted names), OpenMetrics 1.0,
//! and `io.prometheus.client.MetricFamily` (delimited). What belongs to one series must stand together,
//! as OpenMetrics asks; the text formats of Prometheus only advise it, and what stands apart there is
//! taken for points of their own.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod group;
mod lexer;
mod protobuf;
#[cfg(test)]
mod tests;
mod text;

use thiserror::Error;

use crate::Sink;

/// Bytes of the longest line.
pub const MAX_LINE: usize = 256 * 1024;
/// Bytes of the longest family in protobuf, with all of its series.
pub const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Families of one source.
pub const MAX_FAMILIES: usize = 20_000;
/// Labels of one series.
pub const MAX_LABELS: usize = 128;
/// Buckets of one histogram, quantiles of one summary.
pub const MAX_BUCKETS: usize = 512;

/// How series are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, 0.0.4 or 1.0.0.
    Text,
    /// OpenMetrics 1.0, or the drafts before it.
    OpenMetrics,
    /// Prometheus' protobuf, each family with its length before it.
    Protobuf,
}

impl Format {
    /// Of what a `content-type` says; what is not known is taken for text, as Prometheus 2 did.
    pub fn of(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else if media.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            Self::Protobuf
        } else {
            Self::Text
        }
    }
}

/// Why something cannot be read. What came before it was handed on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A line is not what the format allows.
    #[error("line {line}: {problem}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A family is not the message that it should be.
    #[error("family {family}: {problem}")]
    Message {
        /// From 1.
        family: u64,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    /// Longer than [`MAX_LINE`] or [`MAX_MESSAGE`].
    #[error("it is too long")]
    TooLong,
    /// More than [`MAX_FAMILIES`].
    #[error("there are more than {MAX_FAMILIES} families")]
    Families,
    /// More than [`MAX_LABELS`].
    #[error("a series has more than {MAX_LABELS} labels")]
    Labels,
    /// More than [`MAX_BUCKETS`].
    #[error("a series has more than {MAX_BUCKETS} buckets or quantiles")]
    Buckets,
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    Text,
    /// There is no name, or a second one.
    #[error("there is no name of a metric")]
    Name,
    /// `# TYPE` with a type that does not exist.
    #[error("the type is not known")]
    Kind,
    /// The labels do not end, or are none.
    #[error("the labels are malformed")]
    Malformed,
    /// A value, bound, quantile or time is not a number.
    #[error("a number is malformed")]
    Number,
    /// A bucket has no `le`, or a quantile no `quantile`.
    #[error("a bucket has no bound, or a summary's value no quantile")]
    Bound,
    /// Something stands after the end of a line's content, or after `# EOF`.
    #[error("there is more than there should be")]
    Trailing,
    /// It ended too early.
    #[error("it is cut off")]
    Truncated,
}

/// Reads one source, once.
#[derive(Debug)]
pub struct Parser {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Text(Box<text::Text>),
    Protobuf(Box<protobuf::Protobuf>),
}

impl Parser {
    /// For a source that writes so.
    pub fn new(format: Format) -> Self {
        let form = match format {
            Format::Text => Form::Text(Box::new(text::Text::new(false))),
            Format::OpenMetrics => Form::Text(Box::new(text::Text::new(true))),
            Format::Protobuf => Form::Protobuf(Box::default()),
        };
        Self { form }
    }

    /// Reads on, and hands on what is complete.
    ///
    /// # Errors
    /// When the source does not keep to its format or to the bounds of this module. Then nothing more is
    /// to be fed.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), ParseError> {
        match &mut self.form {
            Form::Text(text) => text.feed(bytes, sink),
            Form::Protobuf(protobuf) => protobuf.feed(bytes, sink),
        }
    }

    /// There is no more, or no more is wanted after an error: hands on the rest.
    ///
    /// # Errors
    /// When the source ended in the middle of something.
    pub fn finish(self, sink: &mut impl Sink) -> Result<(), ParseError> {
        match self.form {
            Form::Text(text) => text.finish(sink),
            Form::Protobuf(protobuf) => protobuf.finish(sink),
        }
    }
}

/// The most of one kind that a source may have were reached.
pub(crate) fn bounded(count: usize, most: usize, problem: Problem) -> Result<(), Problem> {
    if count >= most { Err(problem) } else { Ok(()) }
}
