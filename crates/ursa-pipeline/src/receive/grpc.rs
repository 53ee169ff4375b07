//! OTLP/gRPC: unary calls whose message stays bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use prost::Message;

use super::body::{self, Encoding};
use super::intake::Intake;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Answer;
use crate::Signal;
use crate::rpc::{
    ACCEPT_ENCODING, ENCODING, MESSAGE, PREFIX_BYTES, STATUS, STATUS_DETAILS, percent,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// An empty message, uncompressed.
const EMPTY: Bytes = Bytes::from_static(&[0; PREFIX_BYTES]);

/// Answers gRPC calls.
#[derive(Debug, Clone)]
pub(super) struct Grpc {
    intake: Intake,
}

impl Grpc {
    pub(super) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<(), Problem> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let signal = Signal::ALL.into_iter().find(|signal| signal.grpc_path() == path);
        let signal = signal.ok_or_else(|| Problem::Path(path.to_owned()))?;
        if head.method != Method::POST {
            return Err(Problem::Method(head.method));
        }
        let encoding = Encoding::of(&head.headers, HeaderName::from_static(ENCODING))?;
        let mut held = self.intake.hold();
        let limit = self.intake.limits.message;
        let framed = limit.saturating_add(PREFIX_BYTES);
        let read = body::read(&head.headers, body, framed, &mut held);
        let read = tokio::time::timeout(self.intake.limits.read, read);
        let framed = read.await.map_err(|_| Problem::Slow)?.map_err(|problem| match problem {
            Problem::TooLarge { .. } => Problem::TooLarge { limit },
            other => other,
        })?;
        let (compressed, message) = unframe(framed)?;
        let message = match (compressed, encoding) {
            (false, _) => message,
            (true, Encoding::Gzip) => self.intake.gunzip(&message, &mut held)?,
            (true, Encoding::Identity) => {
                return Err(Problem::Malformed("a compressed message names no encoding".into()));
            }
        };
        self.intake.take(signal, message).await
    }
}

/// The one message of a unary call, and whether it is compressed.
fn unframe(mut framed: Bytes) -> Result<(bool, Bytes), Problem> {
    let malformed = |what: &str| Problem::Malformed(what.to_owned());
    if framed.len() < PREFIX_BYTES {
        return Err(malformed("the call carries no message"));
    }
    let flag = framed.get_u8();
    let length = framed.get_u32() as usize;
    if length != framed.len() {
        return Err(malformed("the call does not carry exactly one message"));
    }
    match flag {
        0 => Ok((false, framed)),
        1 => Ok((true, framed)),
        _ => Err(malformed("the message has an unknown compression flag")),
    }
}

impl Answer for Grpc {
    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        let content_type = request.headers().get(CONTENT_TYPE);
        if !content_type.is_some_and(is_grpc) {
            let mut response = Response::new(Reply::default());
            *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let outcome = self.call(request).await;
        let mut response = Response::new(Reply::default());
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
        match outcome {
            Ok(()) => {
                let mut trailers = HeaderMap::new();
                trailers.insert(STATUS, HeaderValue::from_static("0"));
                *response.body_mut() = Reply { data: Some(EMPTY), trailers: Some(trailers) };
            }
            Err(problem) => refuse(&problem, response.headers_mut()),
        }
        response
    }
}

/// The status of a call without a message: it stands in the headers.
fn refuse(problem: &Problem, headers: &mut HeaderMap) {
    let status = problem.status();
    headers.insert(STATUS, HeaderValue::from(status.code));
    if let Ok(message) = HeaderValue::try_from(percent(&status.message)) {
        headers.insert(MESSAGE, message);
    }
    if !status.details.is_empty()
        && let Ok(details) = HeaderValue::try_from(STANDARD_NO_PAD.encode(status.encode_to_vec()))
    {
        headers.insert(STATUS_DETAILS, details);
    }
}
