//! OTLP/gRPC: the request of a batch, and what an answer means.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use prost::Message;

use super::answer::{Again, Failure, Outcome, Reason, text_of};
use super::body::Pieces;
use super::connection::Answer;
use super::http::AGENT;
use super::{Payload, Target};
use crate::rpc::{
    Code, ENCODING, MESSAGE, PREFIX_BYTES, STATUS, STATUS_DETAILS, Status, unpercent,
};

/// Binary metadata, padded or not.
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Digits that `grpc-timeout` may have, in milliseconds.
const MAX_TIMEOUT: u128 = 99_999_999;

pub(super) fn request(
    target: &Target,
    payload: &Payload,
    gzip: bool,
    timeout: Option<Duration>,
) -> Request<Pieces> {
    let prefix = |length: usize| {
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(gzip.into());
        prefix.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        prefix.freeze()
    };
    let uri = format!("http://{}{}", target.authority, payload.signal.grpc_path());
    let mut request = Request::new(Pieces::of(payload, gzip, prefix));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if gzip {
        headers.insert(ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(timeout) = timeout {
        let timeout = format!("{}m", timeout.as_millis().min(MAX_TIMEOUT));
        let timeout = HeaderValue::try_from(timeout).expect("digits and a letter are valid");
        headers.insert("grpc-timeout", timeout);
    }
    request
}

pub(super) fn outcome(answer: &Answer) -> Outcome {
    // An answer without a message has its status in the headers.
    let trailers =
        if answer.trailers.contains_key(STATUS) { &answer.trailers } else { &answer.headers };
    let code = trailers.get(STATUS).map(|code| Code::of_text(code.as_bytes()));
    match code {
        Some(Code::OK) => message(&answer.body),
        Some(code) => failed(code, trailers),
        None if answer.status == StatusCode::OK => {
            failure(Code::UNKNOWN, "the answer has no gRPC status", None)
        }
        None => {
            let message = format!("HTTP status {} instead of a gRPC answer", answer.status);
            failure(Code::of_http(answer.status), &message, None)
        }
    }
}

/// The export response of a unary call.
fn message(body: &Bytes) -> Outcome {
    Outcome::of_response(body.get(PREFIX_BYTES..).unwrap_or_default())
}

fn failed(code: Code, trailers: &HeaderMap) -> Outcome {
    let text = trailers.get(MESSAGE).map(|text| unpercent(text.as_bytes())).unwrap_or_default();
    let details = trailers.get(STATUS_DETAILS).and_then(|details| BINARY.decode(details).ok());
    let details = details.and_then(|details| Status::decode(&*details).ok());
    failure(code, &text, details.and_then(|details| details.retry_after()))
}

fn failure(code: Code, text: &str, retry_after: Option<Duration>) -> Outcome {
    let again = match code {
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
        Code::DEADLINE_EXCEEDED => Reason::Timeout,
        Code::UNAUTHENTICATED | Code::PERMISSION_DENIED => Reason::Unauthorized,
        Code::RESOURCE_EXHAUSTED if again == Again::Never => Reason::TooLarge,
        _ if again == Again::Never => Reason::Rejected,
        _ => Reason::Unavailable,
    };
    let message = if text.is_empty() { code.to_string() } else { format!("{code}: {text}") };
    let message = text_of(message.as_bytes());
    Outcome::Failed(Failure { reason, code: code.0.to_string(), message, again })
}
