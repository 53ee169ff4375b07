//! OTLP on its wire form: checking, counting and editing protobuf bytes without decoding them.
//!
//! An export request is a sequence of fields, and holds one repeated field (number 1: the
//! `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`). So requests concatenated byte by byte
//! are one valid request (batches are made that way), and an edit copies the ranges
//! that stay and writes the lengths of the messages around what changed.
//!
//! [`check()`] is the boundary of trust. It accepts what a protobuf decoder would accept for the
//! messages of OTLP 1.10, less groups and nesting beyond [`MAX_DEPTH`]. Unknown fields and any
//! order of fields are kept.
//!
//! Followed: protobuf's "Encoding" (fields that occur twice: the last scalar wins, messages merge,
//! which for bytes is to concatenate them).

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod check;
pub(crate) mod fields;
mod ids;
pub(crate) mod schema;
mod split;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod urls;

use thiserror::Error;

pub use check::{Checked, check, inspect};
pub use fields::{Field, Fields, Value};
pub use ids::{SpanId, drop_invalid, span_ids};
pub(crate) use schema::points;
pub use split::split;
pub use text::mend_text;

/// Messages inside one another that a request may have. Decoders commonly stop at 100.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field ends after its message.
    #[error("a field is cut off")]
    Truncated,
    /// More than 10 bytes, or more than 64 bits.
    #[error("a number is too long")]
    Number,
    /// Field number 0 or beyond 2²⁹ − 1, or a wire type that does not exist.
    #[error("a field has no valid tag")]
    Tag,
    /// Wire types 3 and 4, which OTLP never used.
    #[error("field {number} is a group")]
    Group {
        /// The field's number.
        number: u32,
    },
    /// The wire type is not the one of that field.
    #[error("field {number} of {message} has the wrong type")]
    Type {
        /// Name of the message.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
    /// Text that is not UTF-8.
    #[error("field {number} of {message} is not UTF-8")]
    Text {
        /// Name of the message.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("messages are nested deeper than {MAX_DEPTH}")]
    Depth,
}
