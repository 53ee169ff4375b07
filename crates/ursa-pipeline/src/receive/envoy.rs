//! What one Envoy sends, all to one address: OTLP over gRPC, and spans of its Zipkin tracer by POST.
//!
//! Those spans become OTLP as they are read, in the words of Envoy's OpenTelemetry tracer, so that nothing behind here
//! need know by which tracer a span was made.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use ursa_otlp::zipkin;

use super::body;
use super::grpc::Grpc;
use super::http::refusal;
use super::intake::Intake;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Answer;
use super::watch::Inbound;
use crate::Signal;

/// Where the Zipkin tracer is to send, in JSON (`HTTP_JSON`).
const SPANS: &str = "/api/v2/spans";
const JSON: &str = "application/json";

/// Answers one Envoy.
#[derive(Debug)]
pub(super) struct Envoy {
    grpc: Grpc,
    intake: Intake,
}

impl Envoy {
    pub(super) fn new(intake: Intake) -> Self {
        Self { grpc: Grpc::new(intake.clone()), intake }
    }

    async fn post(&self, request: Request<Inbound>) -> Result<(), Problem> {
        let (head, mut body) = request.into_parts();
        let answer = self.take(&head, &mut body).await;
        body::end(answer, body).await
    }

    async fn take(&self, head: &Parts, body: &mut Inbound) -> Result<(), Problem> {
        if head.method != Method::POST {
            return Err(Problem::Method(head.method.clone()));
        }
        self.intake.admit(&head.headers)?;
        let media = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let media = media.unwrap_or_default();
        if !media.eq_ignore_ascii_case(JSON.as_bytes()) {
            let media = String::from_utf8_lossy(media).into_owned();
            return Err(Problem::ContentType(media, JSON));
        }
        let limits = self.intake.limits();
        let mut held = self.intake.hold();
        let list = body::read(body, limits.message, limits, &mut held).await?;
        let request = zipkin::of_envoy(&list).map_err(|error| Problem::malformed(&error))?;
        held.grow(request.len().saturating_sub(list.len()))?;
        // What is left out, spans of callers who send ids that are zero, Envoy could not mend.
        self.intake.take(Signal::Traces, Bytes::from(request), held).await?;
        Ok(())
    }
}

impl Answer for Envoy {
    const HTTP2_ONLY: bool = true;

    async fn answer(&self, request: Request<Inbound>) -> Response<Reply> {
        if request.uri().path() != SPANS {
            return self.grpc.answer(request).await;
        }
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
