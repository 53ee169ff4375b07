//! Datadog's trace agent: `POST /v0.4/traces` in `MessagePack`.
//!
//! Traces that came in Datadog's form go on in it, joined without being read again; OTLP is
//! translated. Nothing is compressed: agents do not decompress traces.
//!
//! Followed: Datadog's trace agent API; for what may be sent again, OTLP/HTTP's rules.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ursa_model::pipeline::DatadogExporter;
use ursa_otlp::datadog::{self, DatadogError, Joined, Services};

use super::answer::Outcome;
use super::client::{Client, Post};
use super::connection::Answer;
use super::credentials::Credentials;
use super::http::{AGENT, failure};
use super::native::{MAX_TRANSLATED, Place, delivered, untranslated};
use super::way::Way;
use super::{Outlet, Payload};
use crate::aside::aside;
use crate::{Form, Signal};

const PORT: u16 = 8126;
/// Below the URL's own path.
const PATH: &str = "/v0.4/traces";
const TRACE_COUNT: HeaderName = HeaderName::from_static("x-datadog-trace-count");
/// Which tracer it was. The agent keeps it as the version that sent the payload.
const TRACER_VERSION: HeaderName = HeaderName::from_static("datadog-meta-tracer-version");

/// The way that `spec` says, or why there is none.
pub(super) fn open(spec: &DatadogExporter, signal: Signal, outlet: Outlet) -> Result<Way, String> {
    let Place { target, secure, path } = Place::of(&spec.url, PORT)?;
    if signal != Signal::Traces {
        return Err(format!("Datadog's agent takes no {signal} here"));
    }
    if path.contains('?') {
        return Err("url: must have no query".to_owned());
    }
    let path = format!("{}{PATH}", path.trim_end_matches('/'));
    let endpoint = format!("{}{path}", target.authority);
    let credentials = Credentials::new(&spec.delivery, outlet.values.clone());
    let client = Client::new(target, secure, &spec.delivery, credentials, outlet);
    Ok(Way { endpoint, path, client })
}

/// Makes one attempt.
pub(super) async fn send(way: &Way, services: Services, payload: &Payload) -> Outcome {
    let (Joined { traces, pieces }, spans) = match encode(services, payload).await {
        Ok((_, 0)) => return delivered(payload.items, 0),
        Ok(encoded) => encoded,
        Err(error) => {
            return untranslated(&error, matches!(error, DatadogError::TooLarge { .. }));
        }
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/msgpack"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(TRACE_COUNT, HeaderValue::from(traces));
    headers.insert(TRACER_VERSION, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    let post = Post { method: Method::POST, path: way.path.clone(), headers, pieces };
    let outcome = |answer: &Answer| {
        if answer.status.is_success() {
            return delivered(payload.items, spans);
        }
        Outcome::Failed(failure(answer, &way.path))
    };
    way.client.send(post, outcome).await
}

/// The body, and how many spans it has.
async fn encode(services: Services, payload: &Payload) -> Result<(Joined, usize), DatadogError> {
    let requests = payload.requests.clone();
    if payload.form == Form::Datadog {
        return Ok((datadog::join(&requests), payload.items));
    }
    aside(payload.bytes, move || {
        // Spans of one trace may stand in several requests, and belong together.
        let request = match &*requests {
            [request] => request.clone(),
            several => several.concat().into(),
        };
        let (message, spans) = datadog::from_otlp(&request, services, MAX_TRANSLATED)?;
        Ok((datadog::join([&message.into()]), spans))
    })
    .await
}
