//! OTLP/JSON, straight to protobuf and back, by the [table of messages](crate::wire).
//!
//! Not canonical protobuf JSON: ids are hex, enumerations are integers (OTLP 1.10, "JSON Protobuf
//! Encoding"). As protobuf's JSON has it, `null` says nothing, numbers may be texts, and names that are
//! not known are passed over.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::Signal;
use crate::wire::{WireError, schema};

pub use read::cost;

/// The request in protobuf.
///
/// # Errors
/// The text is not JSON, or not a request of that signal.
pub fn to_protobuf(signal: Signal, text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    read::request(text, schema::request(signal))
}

/// A request that passed [`wire::check`](crate::wire::check()) in JSON, on one line without its end.
/// Ids are hex, enumerations numbers, 64-bit numbers text; what is not set is left out, and so are
/// fields that this version of OTLP does not know.
///
/// # Errors
/// The request does not walk.
pub fn from_protobuf(signal: Signal, request: &[u8]) -> Result<String, WireError> {
    let mut out = Vec::with_capacity(request.len().saturating_mul(2));
    write::object(request, schema::request(signal), 0, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
