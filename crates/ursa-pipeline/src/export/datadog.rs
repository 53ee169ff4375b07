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
use ursa_otlp::datadog::{self, DatadogError, Joined};

use super::answer::Outcome;
use super::client::{Client, Post};
use super::connection::Answer;
use super::credentials::Credentials;
use super::http::{AGENT, failure};
use super::native::{MAX_TRANSLATED, Place, delivered, untranslated};
use super::{Outlet, Payload};
use crate::aside::aside;
use crate::{Form, Signal};

const PORT: u16 = 8126;
/// Below the URL's own path.
const PATH: &str = "/v0.4/traces";
const TRACE_COUNT: HeaderName = HeaderName::from_static("x-datadog-trace-count");
/// Which tracer it was. The agent keeps it as the version that sent the payload.
const TRACER_VERSION: HeaderName = HeaderName::from_static("datadog-meta-tracer-version");

/// Delivers spans to one Datadog agent.
#[derive(Debug)]
pub(super) struct Datadog {
    /// For people.
    endpoint: String,
    path: String,
    /// Or why nothing may be sent.
    client: Result<Client, String>,
}

impl Datadog {
    pub(super) fn new(spec: &DatadogExporter, signal: Signal, outlet: Outlet) -> Self {
        let place = Place::of(&spec.url, PORT);
        let place = place.and_then(|place| match signal {
            Signal::Traces => Ok(place),
            other => Err(format!("Datadog's agent takes no {other} here")),
        });
        let Place { target, secure, path } = match place {
            Ok(place) => place,
            Err(reason) => {
                // An URL that is none may hold anything, so it is not shown.
                let (endpoint, path) = (String::new(), PATH.to_owned());
                return Self { endpoint, path, client: Err(reason) };
            }
        };
        let path = format!("{}{PATH}", path.trim_end_matches('/'));
        let endpoint = format!("{}{path}", target.authority);
        let credentials = Credentials::new(&spec.delivery, outlet.values.clone());
        let client = Client::new(target, secure, &spec.delivery, credentials, outlet);
        Self { endpoint, path, client: Ok(client) }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn client(&self) -> Result<&Client, &str> {
        self.client.as_ref().map_err(String::as_str)
    }

    pub(super) async fn send(&self, payload: &Payload) -> Outcome {
        let client = match &self.client {
            Ok(client) => client,
            Err(reason) => return Outcome::Blocked(reason.clone()),
        };
        let (Joined { traces, pieces }, spans) = match encode(payload).await {
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
        let post = Post { method: Method::POST, path: self.path.clone(), headers, pieces };
        client.send(post, |answer| self.outcome(answer, payload.items, spans)).await
    }

    fn outcome(&self, answer: &Answer, items: usize, spans: usize) -> Outcome {
        if answer.status.is_success() {
            return delivered(items, spans);
        }
        Outcome::Failed(failure(answer, &self.path))
    }
}

/// The body, and how many spans it has.
async fn encode(payload: &Payload) -> Result<(Joined, usize), DatadogError> {
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
        let (message, spans) = datadog::from_otlp(&request, MAX_TRANSLATED)?;
        Ok((datadog::join([&message.into()]), spans))
    })
    .await
}
