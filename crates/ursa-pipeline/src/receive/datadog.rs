//! The trace agent's API of Datadog: traces by PUT or POST, v0.3 and v0.4 in `MessagePack` or JSON,
//! v0.5 in `MessagePack` with a table of texts.
//!
//! Traces stay in Datadog's form, brought to v0.4; what came in it is kept as it came. What tracers
//! ask for besides: `/info` says what there is; their own telemetry is taken and thrown away; all
//! else (statistics, remote configuration) is 404, as an agent without it answers, and tracers then
//! do without.
//!
//! Followed: Datadog's trace agent API, `/v0.3` to `/v0.5`. Every trace is kept: the answer's
//! `rate_by_service` is 1.
//!
//! Not here: what headers say of the tracer and its container.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use ursa_otlp::datadog::{self, DatadogError};

use super::body::{self, Encoding};
use super::http::refusal;
use super::intake::Intake;
use super::memory::Held;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Answer;
use super::watch::Inbound;
use crate::{Form, Received, Signal};

/// How many times larger than a message its v0.4 form may be. Texts of a table are used often.
const MAX_GROWTH: usize = 4;
/// The part of the rates that counts for all services.
const RATES: &str = r#"{"rate_by_service":{"service:,env:":1}}"#;
/// Where tracers send telemetry of their own.
const TELEMETRY: &str = "/telemetry/proxy/";

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V03,
    V04,
    V05,
}

impl Version {
    const ALL: [(&str, Self); 3] =
        [("/v0.3/traces", Self::V03), ("/v0.4/traces", Self::V04), ("/v0.5/traces", Self::V05)];

    fn of(path: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == path.trim_end_matches('/'));
        known.map(|(_, version)| version)
    }

    /// The message in the form in which it is kept, and how many spans it has.
    fn read(
        self,
        json: bool,
        message: Bytes,
        limit: usize,
    ) -> Result<(Bytes, usize), DatadogError> {
        let message: Bytes = match self {
            Self::V05 => datadog::from_v05(&message, limit)?.into(),
            Self::V03 | Self::V04 if json => datadog::from_json(&message)?.into(),
            Self::V03 | Self::V04 => message,
        };
        let count = datadog::check(&message)?;
        Ok((message, count.spans))
    }
}

/// Whether the body is JSON; by default it is, as it is to the agent.
fn is_json(headers: &HeaderMap) -> Result<bool, Problem> {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let media = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    match media {
        b"application/msgpack" => Ok(false),
        b"" | b"application/json" | b"text/json" => Ok(true),
        other => {
            let known = "application/msgpack or application/json";
            Err(Problem::ContentType(String::from_utf8_lossy(other).into_owned(), known))
        }
    }
}

/// What `/info` says.
fn info() -> String {
    let endpoints = Version::ALL.map(|(path, _)| path);
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": endpoints,
        "client_drop_p0s": false,
        "span_meta_structs": true,
        "span_events": true,
        "long_running_spans": false,
    })
    .to_string()
}

/// Answers Datadog's tracers.
#[derive(Debug)]
pub(super) struct Datadog {
    intake: Intake,
}

impl Datadog {
    pub(super) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    async fn respond(&self, request: Request<Inbound>) -> Result<Response<Reply>, Problem> {
        let (head, mut body) = request.into_parts();
        let answer = self.serve(&head, &mut body).await;
        body::end(answer, body).await
    }

    async fn serve(&self, head: &Parts, body: &mut Inbound) -> Result<Response<Reply>, Problem> {
        let path = head.uri.path();
        if path.trim_end_matches('/') == "/info" {
            return Ok(reply(StatusCode::OK, "application/json", info().into()));
        }
        let version = Version::of(path);
        if version.is_none() && !path.starts_with(TELEMETRY) {
            return Err(Problem::Path(path.to_owned()));
        }
        if head.method != Method::PUT && head.method != Method::POST {
            return Err(Problem::Method(head.method.clone()));
        }
        self.intake.admit(&head.headers)?;
        let encoding = Encoding::of(&head.headers, CONTENT_ENCODING)?;
        let limits = self.intake.limits();
        let mut held = self.intake.hold();
        let message = body::read(body, limits.message, limits, &mut held).await?;
        let Some(version) = version else {
            return Ok(reply(StatusCode::ACCEPTED, "application/json", "{}".into()));
        };
        let json = version != Version::V05 && is_json(&head.headers)?;
        let message = encoding.decode(message, limits, &mut held)?;
        self.take(version, json, message, held).await?;
        Ok(match version {
            Version::V03 => reply(StatusCode::OK, "text/plain", "OK\n".into()),
            Version::V04 | Version::V05 => reply(StatusCode::OK, "application/json", RATES.into()),
        })
    }

    async fn take(
        &self,
        version: Version,
        json: bool,
        message: Bytes,
        mut held: Held,
    ) -> Result<(), Problem> {
        let before = message.len();
        let limits = self.intake.limits();
        let most = held.most().saturating_add(before);
        let limit = limits.message.saturating_mul(MAX_GROWTH).min(most);
        let room = held.room().saturating_add(before);
        let read = version.read(json, message, limit.min(room));
        let (request, items) = read.map_err(|error| match error {
            // Alone it may have room.
            DatadogError::TooLarge { .. } if room < limit => Problem::Busy,
            DatadogError::TooLarge { limit } => Problem::TooLarge { limit },
            error => Problem::malformed(&error),
        })?;
        held.grow(request.len().saturating_sub(before))?;
        let received = Received::otlp(Signal::Traces, request, items, self.intake.source());
        let received = Received { form: Form::Datadog, ..received };
        self.intake.give(received, held).await
    }
}

fn reply(status: StatusCode, media: &'static str, data: Cow<'static, str>) -> Response<Reply> {
    let data = match data {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    };
    let mut response = Response::new(Reply { data: Some(data), ..Reply::default() });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

impl Answer for Datadog {
    const HTTP2_ONLY: bool = false;

    async fn answer(&self, request: Request<Inbound>) -> Response<Reply> {
        self.respond(request).await.unwrap_or_else(|problem| refusal(&problem))
    }
}
