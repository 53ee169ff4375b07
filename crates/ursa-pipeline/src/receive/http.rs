//! OTLP/HTTP: protobuf and JSON by POST.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use prost::Message;

use super::body::{self, Encoding};
use super::cors;
use super::intake::Intake;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Answer;
use super::watch::Inbound;
use crate::Signal;
use ursa_otlp::json;

/// The encoding of a request, and so of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let media = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        match media {
            _ if media.eq_ignore_ascii_case(b"application/x-protobuf") => Ok(Self::Protobuf),
            _ if media.eq_ignore_ascii_case(b"application/json") => Ok(Self::Json),
            other => Err(Problem::ContentType(
                String::from_utf8_lossy(other).into_owned(),
                "application/x-protobuf or application/json",
            )),
        }
    }

    fn media(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// Answers HTTP requests.
#[derive(Debug)]
pub(super) struct Http {
    intake: Intake,
    /// From which browsers may send.
    origins: Vec<String>,
}

impl Http {
    pub(super) fn new(intake: Intake, origins: Vec<String>) -> Self {
        Self { intake, origins }
    }

    /// The body of the answer.
    async fn post(&self, request: Request<Inbound>) -> Result<Bytes, Problem> {
        let (head, mut body) = request.into_parts();
        let answer = self.take(&head, &mut body).await;
        body::end(answer, body).await
    }

    async fn take(&self, head: &Parts, body: &mut Inbound) -> Result<Bytes, Problem> {
        let path = head.uri.path();
        let signal = Signal::ALL.into_iter().find(|signal| signal.http_path() == path);
        let signal = signal.ok_or_else(|| Problem::Path(path.to_owned()))?;
        if head.method != Method::POST {
            return Err(Problem::Method(head.method.clone()));
        }
        self.intake.admit(&head.headers)?;
        let format = Format::of(&head.headers)?;
        let encoding = Encoding::of(&head.headers, CONTENT_ENCODING)?;
        let limits = self.intake.limits();
        let mut held = self.intake.hold();
        let message = body::read(body, limits.message, limits, &mut held).await?;
        let mut message = encoding.decode(message, limits, &mut held)?;
        if format == Format::Json {
            let cost = json::cost(&message);
            if cost > held.most() {
                return Err(Problem::TooMany);
            }
            held.grow(cost)?;
            let protobuf = json::to_protobuf(signal, &message);
            message = protobuf.map_err(|error| Problem::Malformed(error.to_string()))?.into();
        }
        let taken = self.intake.take(signal, message, held).await?;
        Ok(match format {
            Format::Protobuf => taken.protobuf().into(),
            Format::Json => taken.json(signal).into(),
        })
    }

    async fn respond(&self, request: Request<Inbound>) -> Response<Reply> {
        let format = Format::of(request.headers()).unwrap_or(Format::Json);
        let outcome = self.post(request).await;
        let mut response = Response::new(Reply::default());
        response.headers_mut().insert(CONTENT_TYPE, format.media());
        let data = outcome.unwrap_or_else(|problem| {
            *response.status_mut() = problem.http();
            response.body_mut().refused = true;
            refuse(&problem, response.headers_mut());
            let status = problem.status();
            match format {
                Format::Protobuf => status.encode_to_vec().into(),
                Format::Json => {
                    let (code, message) = (status.code, status.message);
                    let status = serde_json::json!({ "code": code, "message": message });
                    status.to_string().into()
                }
            }
        });
        response.body_mut().data = Some(data).filter(|data| !data.is_empty());
        response
    }
}

impl Answer for Http {
    const HTTP2_ONLY: bool = false;

    async fn answer(&self, request: Request<Inbound>) -> Response<Reply> {
        let headers = request.headers();
        let Some(origin) = cors::allowed(&self.origins, headers).cloned() else {
            return self.respond(request).await;
        };
        let mut response = if cors::is_preflight(request.method(), headers) {
            let mut response = Response::new(Reply::default());
            *response.status_mut() = StatusCode::NO_CONTENT;
            cors::preflight(headers, response.headers_mut());
            response
        } else {
            self.respond(request).await
        };
        cors::allow(&origin, response.headers_mut());
        response
    }
}

/// The answer to a request that was not taken, in words, for protocols without a form for it.
pub(super) fn refusal(problem: &Problem) -> Response<Reply> {
    let data = Some(Bytes::from(format!("{problem}\n")));
    let mut response = Response::new(Reply { data, refused: true, ..Reply::default() });
    *response.status_mut() = problem.http();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    refuse(problem, headers);
    response
}

fn refuse(problem: &Problem, headers: &mut HeaderMap) {
    if let Some(after) = problem.retry_after() {
        let seconds = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if matches!(problem, Problem::Method(_)) {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if matches!(problem, Problem::NoToken | Problem::WrongToken) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}
