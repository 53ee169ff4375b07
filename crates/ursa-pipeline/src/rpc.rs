//! gRPC's status: codes, and the messages that OTLP's errors carry over gRPC and HTTP.
//!
//! `google/rpc/status.proto`, `google/rpc/error_details.proto`; OTLP 1.x, "Failures", "Throttling".

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;
use std::time::Duration;

use prost::Message;

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

impl Code {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const CANCELLED: Self = Self(1);
    pub(crate) const UNKNOWN: Self = Self(2);
    pub(crate) const INVALID_ARGUMENT: Self = Self(3);
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(crate) const NOT_FOUND: Self = Self(5);
    pub(crate) const PERMISSION_DENIED: Self = Self(7);
    pub(crate) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(crate) const ABORTED: Self = Self(10);
    pub(crate) const OUT_OF_RANGE: Self = Self(11);
    pub(crate) const UNIMPLEMENTED: Self = Self(12);
    pub(crate) const INTERNAL: Self = Self(13);
    pub(crate) const UNAVAILABLE: Self = Self(14);
    pub(crate) const DATA_LOSS: Self = Self(15);
    pub(crate) const UNAUTHENTICATED: Self = Self(16);

    /// The code in `grpc-status`. What is no code is UNKNOWN.
    pub(crate) fn of_text(digits: &[u8]) -> Self {
        let code = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        code.filter(|code| (0..=16).contains(code)).map_or(Self::UNKNOWN, Self)
    }

    /// The code that stands for an HTTP status of a server that does not speak gRPC.
    pub(crate) fn of_http(status: http::StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "OK",
            1 => "CANCELLED",
            2 => "UNKNOWN",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            other => return write!(f, "{other}"),
        };
        f.write_str(name)
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

impl Status {
    pub(crate) fn new(code: Code, message: String, retry_after: Option<Duration>) -> Self {
        let details = retry_after.and_then(|after| prost_types::Duration::try_from(after).ok());
        let details = details.map(|delay| prost_types::Any {
            type_url: RETRY_INFO.to_owned(),
            value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec(),
        });
        Self { code: code.0, message, details: details.into_iter().collect() }
    }

    /// The delay of the first `RetryInfo` among the details.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let info = self.details.iter().find(|any| any.type_url == RETRY_INFO)?;
        let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
        Duration::try_from(delay).ok()
    }
}

/// Compression flag and length before a gRPC message.
pub(crate) const PREFIX_BYTES: usize = 5;
pub(crate) const ENCODING: &str = "grpc-encoding";
pub(crate) const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
pub(crate) const STATUS: &str = "grpc-status";
pub(crate) const MESSAGE: &str = "grpc-message";
pub(crate) const STATUS_DETAILS: &str = "grpc-status-details-bin";

/// Text as `grpc-message` carries it: all but printable ASCII, and `%`, as `%XX`.
pub(crate) fn percent(text: &str) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
    out
}

/// The reverse of [`percent`]; what is not an escape stays as it is.
pub(crate) fn unpercent(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.split_first_chunk::<2>().filter(|_| byte == b'%');
        let escape = digits.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = escape.unwrap_or((byte, tail));
        out.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_escaped_and_read_back() {
        let text = "100 % süß\nnext";
        assert_eq!(percent(text), "100 %25 s%C3%BC%C3%9F%0Anext");
        assert_eq!(unpercent(percent(text).as_bytes()), text);
        assert_eq!(unpercent(b"50% of %zz, %4"), "50% of %zz, %4");
    }

    #[test]
    fn codes_are_those_that_there_are() {
        for (text, code) in [("0", 0), ("14", 14), ("16", 16), ("17", 2), ("-1", 2), ("x", 2)] {
            assert_eq!(Code::of_text(text.as_bytes()), Code(code), "{text}");
        }
    }

    #[test]
    fn retry_info_is_written_and_read() {
        let after = Some(Duration::from_millis(1500));
        let status = Status::new(Code::UNAVAILABLE, "later".into(), after);
        let status = Status::decode(&*status.encode_to_vec()).unwrap();
        assert_eq!((Code(status.code), status.retry_after()), (Code::UNAVAILABLE, after));
        assert_eq!(Status::new(Code::INTERNAL, String::new(), None).retry_after(), None);
    }
}
