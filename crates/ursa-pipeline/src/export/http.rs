//! OTLP/HTTP: the request of a batch, and what an answer means.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use prost::Message;

use super::answer::{Again, Failure, Outcome, Reason, text_of};
use super::client::Post;
use super::connection::Answer;
use crate::compress::Encoded;
use crate::rpc::Status;

/// Who sends.
pub(super) const AGENT: &str = concat!("Ursa/", env!("CARGO_PKG_VERSION"));
const PROTOBUF: &str = "application/x-protobuf";

pub(super) fn post(path: &str, encoded: Encoded) -> Post {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(encoding) = encoded.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Post { method: Method::POST, path: path.to_owned(), headers, pieces: encoded.pieces }
}

pub(super) fn outcome(answer: &Answer, path: &str) -> Outcome {
    if answer.status.is_success() {
        return if is_protobuf(&answer.headers) {
            Outcome::of_response(&answer.body)
        } else {
            of_json(&answer.body)
        };
    }
    Outcome::Failed(failure(answer, path))
}

/// What an answer means that is no success, for any backend that speaks HTTP as OTLP does.
pub(super) fn failure(answer: &Answer, path: &str) -> Failure {
    let code = answer.status.as_u16();
    let text = message(answer);
    // The Collector says so with 400.
    let too_large = code == 413 || (code == 400 && text.contains("request body too large"));
    let again = match code {
        // 407 is a proxy's word, of which OTLP says nothing: the backend was not asked.
        407 | 429 | 502 | 503 | 504 => Again::Later(retry_after(&answer.headers, Timestamp::now())),
        _ => Again::Never,
    };
    let reason = match code {
        _ if too_large => Reason::TooLarge,
        401 | 403 | 407 => Reason::Unauthorized,
        504 => Reason::Timeout,
        429 | 502 | 503 => Reason::Unavailable,
        _ => Reason::Rejected,
    };
    let mend = match code {
        400 if text.contains("HTTP request to an HTTPS server") => {
            Some("write `https://` in the endpoint".to_owned())
        }
        401 => Some("look at the credentials in `headers` and `auth`".to_owned()),
        403 => Some("let the backend permit these credentials to write".to_owned()),
        404 | 405 => {
            Some(format!("nothing takes telemetry at {path}: look at the endpoint's path"))
        }
        407 => Some("give the proxy's user and password in its URL".to_owned()),
        415 => Some("the port takes no OTLP in protobuf; look at the endpoint".to_owned()),
        300..400 => answer
            .headers
            .get(LOCATION)
            .map(|location| format!("it is elsewhere: {}", text_of(location.as_bytes()))),
        _ => None,
    };
    let message = if text.is_empty() {
        answer.status.to_string()
    } else {
        format!("{}: {text}", answer.status)
    };
    Failure { reason, code: code.to_string(), message, mend, again }
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
