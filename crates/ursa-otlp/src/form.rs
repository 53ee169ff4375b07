use serde::{Deserialize, Serialize};

/// How telemetry is written. Spans that came in a form of their own go on in it to backends of the
/// same kind, since a conversion would break span ids that client and server share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Form {
    /// An OTLP export request in protobuf. Concatenated, requests are one request.
    Otlp = 0,
    /// A JSON list of Zipkin v2 spans.
    Zipkin = 1,
    /// A msgpack list of traces as Datadog's trace agent takes it at `/v0.4/traces`.
    Datadog = 2,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Otlp, Self::Zipkin, Self::Datadog];

    /// The form of that number, as it stands in stored records.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|form| *form as u8 == number)
    }
}
