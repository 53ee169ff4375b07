//! OTLP/HTTP: the request of a batch, and what an answer means.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request};
use jiff::Timestamp;
use prost::Message;

use super::answer::{Again, Failure, Outcome, Reason, text_of};
use super::body::Pieces;
use super::connection::Answer;
use super::{Payload, Target};
use crate::rpc::Status;

/// Who sends.
pub(super) const AGENT: &str = concat!("Ursa/", env!("CARGO_PKG_VERSION"));
const PROTOBUF: &str = "application/x-protobuf";

pub(super) fn request(target: &Target, payload: &Payload, gzip: bool) -> Request<Pieces> {
    let mut request = Request::new(Pieces::of(payload, gzip, |_| Bytes::new()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = target.http_path(payload.signal).parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::try_from(&target.authority) {
        headers.insert(HOST, host);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    request
}

pub(super) fn outcome(answer: &Answer) -> Outcome {
    if answer.status.is_success() {
        return if is_protobuf(&answer.headers) {
            Outcome::of_response(&answer.body)
        } else {
            of_json(&answer.body)
        };
    }
    let code = answer.status.as_u16();
    let again = match code {
        429 | 502 | 503 | 504 => Again::Later(retry_after(&answer.headers, Timestamp::now())),
        _ => Again::Never,
    };
    let reason = match code {
        401 | 403 => Reason::Unauthorized,
        413 => Reason::TooLarge,
        504 => Reason::Timeout,
        429 | 502 | 503 => Reason::Unavailable,
        _ => Reason::Rejected,
    };
    let text = message(answer);
    let message = if text.is_empty() {
        answer.status.to_string()
    } else {
        format!("{}: {text}", answer.status)
    };
    Outcome::Failed(Failure { reason, code: code.to_string(), message, again })
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|media| media.as_bytes().starts_with(PROTOBUF.as_bytes()))
}

/// Some backends answer in JSON whatever they are sent, or with nothing at all.
fn of_json(body: &[u8]) -> Outcome {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let partial = |name: &str| body.get("partialSuccess")?.get(name);
    let counts = ["rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"];
    let count = counts.into_iter().find_map(|name| match partial(name)? {
        serde_json::Value::String(digits) => digits.parse().ok(),
        number => usize::try_from(number.as_u64()?).ok(),
    });
    let message = partial("errorMessage").and_then(|text| text.as_str()).unwrap_or_default();
    Outcome::Delivered { rejected: count.unwrap_or(0), message: text_of(message.as_bytes()) }
}

/// What the backend says was wrong: a `Status`, or its text.
fn message(answer: &Answer) -> String {
    if is_protobuf(&answer.headers) {
        let status = Status::decode(&*answer.body).unwrap_or_default();
        return text_of(status.message.as_bytes());
    }
    let status: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    match status.as_ref().and_then(|status| status.get("message")?.as_str()) {
        Some(message) => text_of(message.as_bytes()),
        None => text_of(&answer.body),
    }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-06T08:49:30Z".parse().unwrap();
        for (value, expected) in [
            ("7", Some(7)),
            ("Fri, 06 Nov 2026 08:49:37 GMT", Some(7)),
            ("Fri, 06 Nov 2026 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn partial_success_in_json_counts() {
        let body = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        let expected = Outcome::Delivered { rejected: 3, message: "too old".into() };
        assert_eq!(of_json(body), expected);
        let all = Outcome::Delivered { rejected: 0, message: String::new() };
        assert_eq!(of_json(b"{}"), all);
        assert_eq!(of_json(b"OK"), all);
    }
}
