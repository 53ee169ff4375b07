//! What is read of a span when it arrives, and whether it failed. Follows `opentelemetry/proto/trace/v1/trace.proto`.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::wire::{Field, Malformed, Value, fields};

/// A trace's identity, 16 bytes that are not all zero. Shown and parsed as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId([u8; 16]);

/// The text is not 32 hex digits, or all of them are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trace id is 32 hexadecimal digits, not all zero")]
pub struct NotATraceId;

impl TraceId {
    /// From the wire's form.
    ///
    /// # Errors
    /// Not 16 bytes, or all of them zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotATraceId> {
        match bytes.try_into() {
            Ok(bytes) if bytes != [0; 16] => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err(NotATraceId),
        }
    }
}

impl FromStr for TraceId {
    type Err = NotATraceId;

    fn from_str(text: &str) -> Result<Self, NotATraceId> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotATraceId);
        }
        match u128::from_str_radix(text, 16) {
            Ok(id) if id != 0 => Ok(Self(id.to_be_bytes())),
            Ok(_) | Err(_) => Err(NotATraceId),
        }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A span's identity within its trace: 8 bytes that are not all zero.
pub(super) type SpanId = [u8; 8];

/// `SpanKind`, by its numbers in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Kind {
    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// What the indexes and the statistics need of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) kind: Kind,
    /// Nanoseconds since 1970.
    pub(super) start: u64,
    /// Not before `start`, whatever was sent.
    pub(super) end: u64,
    pub(super) error: bool,
}

impl Facts {
    pub(super) fn duration(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.start))
    }

    /// Reads an encoded span. Fails where it is not one, or where its ids are not valid ones.
    pub(super) fn read(span: &[u8]) -> Result<Self, Malformed> {
        let (mut trace, mut id, mut parent): (_, _, &[u8]) = (None, None, &[]);
        let (mut kind, mut start, mut end) = (Kind::Unspecified, 0, 0);
        let mut outcome = Outcome::default();
        for field in fields(span) {
            let Field { number, value, .. } = field?;
            match (number, value) {
                (1, Value::Bytes(bytes)) => {
                    trace = Some(TraceId::from_bytes(bytes).map_err(|_| Malformed)?);
                }
                (2, Value::Bytes(bytes)) => {
                    id = Some(SpanId::try_from(bytes).map_err(|_| Malformed)?);
                }
                (4, Value::Bytes(bytes)) => parent = bytes,
                (6, Value::Varint(number)) => kind = Kind::from_number(number),
                (7, Value::Fixed64(nanos)) => start = nanos,
                (8, Value::Fixed64(nanos)) => end = nanos,
                (9, Value::Bytes(attribute)) => outcome.see(Attribute::read(attribute)?),
                (15, Value::Bytes(status)) => {
                    for field in fields(status) {
                        if let Field { number: 3, value: Value::Varint(code), .. } = field? {
                            outcome.status = code;
                        }
                    }
                }
                (1 | 2 | 4 | 6..=9 | 15, _) => return Err(Malformed),
                _ => {}
            }
        }
        Ok(Self {
            trace: trace.ok_or(Malformed)?,
            span: id.filter(|id| id != &[0; 8]).ok_or(Malformed)?,
            parent: SpanId::try_from(parent).ok().filter(|id| id != &[0; 8]),
            kind,
            start,
            end: end.max(start),
            error: outcome.failed(kind),
        })
    }
}

/// The name of an encoded span.
pub(super) fn name(span: &[u8]) -> Cow<'_, str> {
    let names = fields(span).map_while(Result::ok).filter(|field| field.number == 5);
    String::from_utf8_lossy(
        names.last().and_then(|field| field.value.bytes().ok()).unwrap_or_default(),
    )
}

/// A `KeyValue` whose value is a scalar; other values are never looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: Scalar<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Other,
}

impl<'a> Attribute<'a> {
    pub(super) fn read(key_value: &'a [u8]) -> Result<Self, Malformed> {
        let mut attribute = Self { key: &[], value: Scalar::Other };
        for field in fields(key_value) {
            let field = field?;
            match field.number {
                1 => attribute.key = field.value.bytes()?,
                2 => attribute.value = Scalar::read(field.value.bytes()?)?,
                _ => {}
            }
        }
        Ok(attribute)
    }

    /// Whether this is what `key=value` on a command line means.
    pub(super) fn is(&self, key: &str, value: &str) -> bool {
        self.key == key.as_bytes() && self.value.is(value)
    }
}

impl<'a> Scalar<'a> {
    fn read(any_value: &'a [u8]) -> Result<Self, Malformed> {
        let mut scalar = Self::Other;
        for field in fields(any_value) {
            let Field { number, value, .. } = field?;
            scalar = match (number, value) {
                (1, Value::Bytes(text)) => Self::Text(text),
                (2, Value::Varint(truth)) => Self::Bool(truth != 0),
                (3, Value::Varint(int)) => Self::Int(int.cast_signed()),
                (4, Value::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                _ => Self::Other,
            };
        }
        Ok(scalar)
    }

    fn is(self, text: &str) -> bool {
        match self {
            Self::Text(value) => value == text.as_bytes(),
            Self::Bool(value) => text.parse() == Ok(value),
            Self::Int(value) => text.parse() == Ok(value),
            #[expect(clippy::float_cmp, reason = "the user repeats the value shown")]
            Self::Double(value) => text.parse().is_ok_and(|wanted: f64| wanted == value),
            Self::Other => false,
        }
    }

    fn int(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Bool(_) | Self::Double(_) | Self::Other => None,
        }
    }
}

/// What a span says about how its request ended.
#[derive(Debug, Default)]
struct Outcome {
    /// `Status.StatusCode`: 0 unset, 1 ok, 2 error.
    status: u64,
    http: Option<i64>,
    grpc: Option<i64>,
    /// Envoy's and OpenTracing's `error` tag.
    tagged: bool,
}

impl Outcome {
    fn see(&mut self, attribute: Attribute<'_>) {
        match attribute.key {
            b"http.response.status_code" | b"http.status_code" => self.http = attribute.value.int(),
            b"rpc.grpc.status_code" | b"grpc.status_code" => self.grpc = attribute.value.int(),
            b"error" => self.tagged = attribute.value.is("true"),
            _ => {}
        }
    }

    /// The span's status decides when it is set; else the protocol's status, as the semantic conventions read
    /// it: 5xx, and of gRPC's codes those that are the server's fault, or for a client every one but OK.
    fn failed(&self, kind: Kind) -> bool {
        match self.status {
            1 => return false,
            2 => return true,
            _ => {}
        }
        let grpc_failed = self.grpc.is_some_and(|code| match kind {
            Kind::Client => code != 0,
            _ => matches!(code, 2 | 4 | 12 | 13 | 14 | 15),
        });
        self.tagged || grpc_failed || self.http.is_some_and(|code| (500..600).contains(&code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::{Sample, attribute};
    use opentelemetry_proto::tonic::common::v1::any_value;
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use proptest::prelude::*;
    use prost::Message;

    #[test]
    fn failed_spans_are_told_from_others() {
        let text = |value: &str| any_value::Value::StringValue(value.to_owned());
        let int = any_value::Value::IntValue;
        let cases = [
            (2, 0, vec![], false),
            (2, 2, vec![], true),
            (2, 0, vec![("http.status_code", text("503"))], true),
            (2, 0, vec![("http.status_code", text("404"))], false),
            (2, 1, vec![("http.response.status_code", int(500))], false),
            (3, 0, vec![("http.response.status_code", int(500))], true),
            (2, 0, vec![("grpc.status_code", text("5"))], false),
            (3, 0, vec![("grpc.status_code", text("5"))], true),
            (
                2,
                0,
                vec![("rpc.grpc.status_code", int(14)), ("http.status_code", text("200"))],
                true,
            ),
            (1, 0, vec![("error", text("true"))], true),
            (1, 0, vec![("error", any_value::Value::BoolValue(true))], true),
            (1, 0, vec![("error", text("false"))], false),
        ];
        for (kind, code, attributes, failed) in cases {
            let mut span = Sample::span(1, 1, 0).0;
            (span.kind, span.status) = (kind, Some(Status { code, ..Status::default() }));
            span.attributes =
                attributes.into_iter().map(|(key, value)| attribute(key, value)).collect();
            assert_eq!(Facts::read(&span.encode_to_vec()).unwrap().error, failed, "{span:?}");
        }
    }

    #[test]
    fn ids_must_be_ids() {
        let good = Sample::span(1, 2, 0).0;
        let bad = [
            Span { trace_id: vec![0; 16], ..good.clone() },
            Span { trace_id: vec![1; 8], ..good.clone() },
            Span { span_id: vec![0; 8], ..good.clone() },
            Span { span_id: vec![], ..good.clone() },
        ];
        assert!(Facts::read(&good.encode_to_vec()).is_ok());
        for span in bad {
            assert_eq!(Facts::read(&span.encode_to_vec()), Err(Malformed));
        }
        for text in
            ["", "0", "00000000000000000000000000000000", "+0000000000000000000000000000001", "xyz"]
        {
            assert_eq!(text.parse::<TraceId>(), Err(NotATraceId));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(Facts::read(&bytes).is_ok_and(|facts| facts.end >= facts.start) || name(&bytes).chars().count() <= bytes.len());
        }

        #[test]
        fn a_trace_id_is_its_text(id in 1_u128..) {
            let text = format!("{id:032x}");
            prop_assert_eq!(text.parse::<TraceId>().unwrap().to_string(), text);
        }
    }
}
