//! OTLP/JSON: requests in it, which are rare, are decoded and written anew as protobuf; files in it
//! are written straight from protobuf.
//!
//! Not canonical protobuf JSON: ids are hex, enumerations are integers (OTLP 1.10, "JSON Protobuf
//! Encoding").

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod cost;
#[cfg(test)]
mod tests;
mod write;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use crate::Signal;
use crate::wire::{WireError, schema};

pub use cost::cost;

/// The request in protobuf.
///
/// # Errors
/// The text is not JSON, or not a request of that signal.
pub fn to_protobuf(signal: Signal, text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    fn through<M: Message + serde::de::DeserializeOwned>(
        text: &[u8],
    ) -> Result<Vec<u8>, serde_json::Error> {
        Ok(serde_json::from_slice::<M>(text)?.encode_to_vec())
    }
    match signal {
        Signal::Traces => through::<ExportTraceServiceRequest>(text),
        Signal::Metrics => through::<ExportMetricsServiceRequest>(text),
        Signal::Logs => through::<ExportLogsServiceRequest>(text),
    }
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
