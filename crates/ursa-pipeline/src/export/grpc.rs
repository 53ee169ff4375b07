//! OTLP/gRPC: the request of a batch, and what an answer means.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use prost::Message;

use super::answer::{Again, Failure, Outcome, Reason, text_of};
use super::client::Post;
use super::connection::Answer;
use super::http::AGENT;
use crate::Signal;
use crate::compress::Encoded;
use crate::decompress::gunzip;
use crate::rpc::{
    ACCEPT_ENCODING, Code, ENCODING, MESSAGE, PREFIX_BYTES, STATUS, STATUS_DETAILS, Status,
    unpercent,
};

const GRPC: &str = "application/grpc";
/// What to do when a server answers, but not in gRPC.
const NOT_GRPC: &str = "set `protocol: http`, or use the port for gRPC, usually 4317";
/// Bytes of an answer's message.
const MAX_MESSAGE: usize = 64 << 10;
/// Binary metadata, padded or not.
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Digits that `grpc-timeout` may have, in milliseconds.
const MAX_TIMEOUT: u128 = 99_999_999;

pub(super) fn post(signal: Signal, encoded: Encoded, timeout: Option<Duration>) -> Post {
    let length: usize = encoded.pieces.iter().map(Bytes::len).sum();
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
    prefix.put_u8(encoded.encoding.is_some().into());
    prefix.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(encoding) = encoded.encoding {
        headers.insert(ENCODING, HeaderValue::from_static(encoding));
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
    if let Some(timeout) = timeout {
        let timeout = format!("{}m", timeout.as_millis().clamp(1, MAX_TIMEOUT));
        let timeout = HeaderValue::try_from(timeout).expect("digits and a letter are valid");
        headers.insert("grpc-timeout", timeout);
    }
    let pieces = std::iter::once(prefix.freeze()).chain(encoded.pieces).collect();
    Post { method: Method::POST, path: signal.grpc_path().to_owned(), headers, pieces }
}

pub(super) fn outcome(answer: &Answer, signal: Signal) -> Outcome {
    // An answer without a message has its status in the headers.
    let trailers =
        if answer.trailers.contains_key(STATUS) { &answer.trailers } else { &answer.headers };
    let code = trailers.get(STATUS).map(|code| Code::of_text(code.as_bytes()));
    match code {
        Some(Code::OK) => message(answer),
        Some(code) => failed(code, trailers, signal),
        None if answer.status == StatusCode::OK => Outcome::Failed(Failure {
            mend: Some(NOT_GRPC.to_owned()),
            ..failure(Code::UNKNOWN, "the answer has no gRPC status", None, signal)
        }),
        None => {
            let message = format!("HTTP status {} instead of a gRPC answer", answer.status);
            if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
                // So says a proxy on the way.
                let failure = failure(Code::RESOURCE_EXHAUSTED, &message, None, signal);
                return Outcome::Failed(Failure { reason: Reason::TooLarge, ..failure });
            }
            let failure = failure(Code::of_http(answer.status), &message, None, signal);
            let mend = match failure.code.as_str() {
                // UNIMPLEMENTED and UNKNOWN: no gRPC is here.
                "12" | "2" | "13" => Some(NOT_GRPC.to_owned()),
                _ => failure.mend,
            };
            Outcome::Failed(Failure { mend, ..failure })
        }
    }
}

/// The export response of a unary call, which may be compressed as the request was.
fn message(answer: &Answer) -> Outcome {
    let message = answer.body.get(PREFIX_BYTES..).unwrap_or_default();
    let compressed = answer.body.first().is_some_and(|flag| *flag == 1);
    if !compressed {
        return Outcome::of_response(message);
    }
    let gzip = answer.headers.get(ENCODING).is_some_and(|encoding| encoding == "gzip");
    match gunzip(message, MAX_MESSAGE) {
        Ok(message) if gzip => Outcome::of_response(&message),
        // What is taken is taken, whatever else is said.
        _ => Outcome::of_response(&[]),
    }
}

fn failed(code: Code, trailers: &HeaderMap, signal: Signal) -> Outcome {
    let text = trailers.get(MESSAGE).map(|text| unpercent(text.as_bytes())).unwrap_or_default();
    let details = trailers.get(STATUS_DETAILS).and_then(|details| BINARY.decode(details).ok());
    let details = details.and_then(|details| Status::decode(&*details).ok());
    let after = details.and_then(|details| details.retry_after());
    Outcome::Failed(failure(code, &text, after, signal))
}

/// Whether a message says that a request was larger than the backend takes. Servers of Go say
/// "received message larger than max", those of Rust "decoded message length too large".
fn speaks_of_size(text: &str) -> bool {
    const WORDS: [&str; 6] = [
        "larger than max",
        "message size",
        "message length too large",
        "message too large",
        "message larger than",
        "exceeds maximum size",
    ];
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|words| text.contains(words))
}

fn failure(code: Code, text: &str, retry_after: Option<Duration>, signal: Signal) -> Failure {
    let too_large =
        matches!(code, Code::RESOURCE_EXHAUSTED | Code::OUT_OF_RANGE) && speaks_of_size(text);
    let again = match code {
        _ if too_large => Again::Never,
        Code::CANCELLED
        | Code::DEADLINE_EXCEEDED
        | Code::ABORTED
        | Code::OUT_OF_RANGE
        | Code::UNAVAILABLE
        | Code::DATA_LOSS => Again::Later(retry_after),
        // Only with RetryInfo is it a lack that passes.
        Code::RESOURCE_EXHAUSTED if retry_after.is_some() => Again::Later(retry_after),
        _ => Again::Never,
    };
    let reason = match code {
        _ if too_large => Reason::TooLarge,
        Code::DEADLINE_EXCEEDED => Reason::Timeout,
        Code::UNAUTHENTICATED | Code::PERMISSION_DENIED => Reason::Unauthorized,
        _ if again == Again::Never => Reason::Rejected,
        _ => Reason::Unavailable,
    };
    let mend = match code {
        Code::UNAUTHENTICATED => Some("look at the credentials in `headers` and `auth`".to_owned()),
        Code::PERMISSION_DENIED => {
            Some("let the backend permit these credentials to write".to_owned())
        }
        Code::UNIMPLEMENTED => {
            Some(format!("send {signal} elsewhere, or let the backend receive them over gRPC"))
        }
        _ => None,
    };
    let message = if text.is_empty() { code.to_string() } else { format!("{code}: {text}") };
    let message = text_of(message.as_bytes());
    Failure { reason, code: code.0.to_string(), message, mend, again }
}
