//! Zipkin's API: lists of spans by POST, v1 in JSON, v2 in JSON or protobuf.
//!
//! Spans stay in Zipkin's form, brought to the one of its dialects that is a JSON list of v2 spans;
//! such a list is kept as it came. Bytes that are not UTF-8 become U+FFFD.
//!
//! Followed: Zipkin API 2, `POST /api/v2/spans` and `/api/v1/spans`.
//!
//! Not here: Thrift, which nobody sends any more; queries.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use ursa_otlp::zipkin::{self, ZipkinError};

use super::body::{self, Encoding};
use super::http::refusal;
use super::intake::Intake;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Answer;
use super::watch::Inbound;
use crate::{Form, Received, Signal};

/// How spans are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V1Json,
    V2Json,
    V2Proto,
}

impl Dialect {
    fn of(path: &str, headers: &HeaderMap) -> Result<Self, Problem> {
        let v1 = match path {
            "/api/v1/spans" => true,
            "/api/v2/spans" => false,
            other => return Err(Problem::Path(other.to_owned())),
        };
        let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let media = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
        // Zipkin takes what says nothing for JSON.
        match v1 {
            true if media.is_empty() || is("application/json") => Ok(Self::V1Json),
            false if media.is_empty() || is("application/json") => Ok(Self::V2Json),
            false if is("application/x-protobuf") || is("application/protobuf") => {
                Ok(Self::V2Proto)
            }
            _ => {
                let media = String::from_utf8_lossy(media).into_owned();
                let known = if v1 {
                    "application/json"
                } else {
                    "application/json or application/x-protobuf"
                };
                Err(Problem::ContentType(media, known))
            }
        }
    }

    /// The list in the form in which it is kept, and how many spans it has.
    fn read(self, message: Bytes) -> Result<(Bytes, usize), ZipkinError> {
        let list: Bytes = match self {
            Self::V2Json => message,
            Self::V1Json => zipkin::from_v1_json(&mended(&message))?.into(),
            Self::V2Proto => zipkin::from_proto(&message)?.into(),
        };
        match zipkin::check(&list) {
            Err(ZipkinError::Utf8) => {
                let list = mended(&list);
                let spans = zipkin::check(&list)?;
                Ok((list, spans))
            }
            spans => Ok((list, spans?)),
        }
    }
}

fn mended(text: &Bytes) -> Bytes {
    match std::str::from_utf8(text) {
        Ok(_) => text.clone(),
        Err(_) => String::from_utf8_lossy(text).into_owned().into(),
    }
}

/// Answers Zipkin's reporters.
#[derive(Debug)]
pub(super) struct Zipkin {
    intake: Intake,
}

impl Zipkin {
    pub(super) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    async fn post(&self, request: Request<Inbound>) -> Result<(), Problem> {
        let (head, mut body) = request.into_parts();
        let answer = self.take(&head, &mut body).await;
        body::end(answer, body).await
    }

    async fn take(&self, head: &Parts, body: &mut Inbound) -> Result<(), Problem> {
        let dialect = Dialect::of(head.uri.path(), &head.headers);
        if let Err(problem @ Problem::Path(_)) = dialect {
            return Err(problem);
        }
        if head.method != Method::POST {
            return Err(Problem::Method(head.method.clone()));
        }
        self.intake.admit(&head.headers)?;
        let dialect = dialect?;
        let encoding = Encoding::of(&head.headers, CONTENT_ENCODING)?;
        let limits = self.intake.limits();
        let mut held = self.intake.hold();
        let message = body::read(body, limits.message, limits, &mut held).await?;
        let message = encoding.decode(message, limits, &mut held)?;
        let before = message.len();
        let (request, items) = dialect.read(message).map_err(|error| Problem::malformed(&error))?;
        held.grow(request.len().saturating_sub(before))?;
        let received = Received::otlp(Signal::Traces, request, items, self.intake.source());
        let received = Received { form: Form::Zipkin, ..received };
        self.intake.give(received, held).await
    }
}

impl Answer for Zipkin {
    const HTTP2_ONLY: bool = false;

    async fn answer(&self, request: Request<Inbound>) -> Response<Reply> {
        match self.post(request).await {
            Ok(()) => {
                let mut response = Response::new(Reply::default());
                *response.status_mut() = StatusCode::ACCEPTED;
                response
            }
            Err(problem) => refusal(&problem),
        }
    }
}
