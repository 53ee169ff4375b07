//! OTLP's answer to a request of which something was left out ("Partial Success").

use prost::Message;

use super::intake::Taken;
use crate::Signal;

/// `ExportTraceServiceResponse` and its kin, which differ in names only.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

const WORDS: &str =
    "spans without a trace id of 16 bytes and a span id of 8, not all zero, cannot be taken";

impl Taken {
    /// The answer in protobuf: empty when everything was taken.
    pub(super) fn protobuf(self) -> Vec<u8> {
        if self.rejected == 0 {
            return Vec::new();
        }
        let rejected = i64::try_from(self.rejected).unwrap_or(i64::MAX);
        let partial_success = Some(PartialSuccess { rejected, error_message: WORDS.to_owned() });
        ExportResponse { partial_success }.encode_to_vec()
    }

    /// The answer in OTLP/JSON.
    pub(super) fn json(self, signal: Signal) -> String {
        if self.rejected == 0 {
            return "{}".to_owned();
        }
        let name = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
        };
        // Integers of 64 bits are strings.
        let partial = serde_json::json!({ name: self.rejected.to_string(), "errorMessage": WORDS });
        serde_json::json!({ "partialSuccess": partial }).to_string()
    }
}
