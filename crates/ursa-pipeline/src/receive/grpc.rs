//! OTLP/gRPC: unary calls whose message stays bytes. Also `grpc.health.v1.Health/Check`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use prost::Message;

use super::body::{self, Encoding};
use super::intake::Intake;
use super::problem::Problem;
use super::reply::Reply;
use super::server::Answer;
use super::watch::Inbound;
use crate::Signal;
use crate::rpc::{
    ACCEPT_ENCODING, ENCODING, MESSAGE, PREFIX_BYTES, STATUS, STATUS_DETAILS, percent,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");
const OK: HeaderValue = HeaderValue::from_static("0");
/// An empty message, uncompressed.
const EMPTY: Bytes = Bytes::from_static(&[0; PREFIX_BYTES]);
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// A framed `HealthCheckResponse` that says SERVING.
const SERVING: Bytes = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);

/// Answers gRPC calls.
#[derive(Debug)]
pub(super) struct Grpc {
    intake: Intake,
}

/// What is called.
#[derive(Debug, Clone, Copy)]
enum Called {
    Export(Signal),
    Health,
}

impl Called {
    fn of(path: &str) -> Option<Self> {
        let mut signals = Signal::ALL.into_iter();
        match signals.find(|signal| signal.grpc_path() == path) {
            Some(signal) => Some(Self::Export(signal)),
            None => (path == HEALTH).then_some(Self::Health),
        }
    }
}

impl Grpc {
    pub(super) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    /// The framed answer.
    async fn call(&self, request: Request<Inbound>) -> Result<Bytes, Problem> {
        let (head, mut body) = request.into_parts();
        let answer = self.take(&head, &mut body).await;
        body::end(answer, body).await
    }

    async fn take(&self, head: &Parts, body: &mut Inbound) -> Result<Bytes, Problem> {
        let path = head.uri.path();
        let called = Called::of(path).ok_or_else(|| Problem::Path(path.to_owned()))?;
        if head.method != Method::POST {
            return Err(Problem::Method(head.method.clone()));
        }
        if let Called::Export(_) = called {
            self.intake.admit(&head.headers)?;
        }
        let encoding = Encoding::of(&head.headers, HeaderName::from_static(ENCODING))?;
        let limits = self.intake.limits();
        let mut held = self.intake.hold();
        let framed = limits.message.saturating_add(PREFIX_BYTES);
        let framed = body::read(body, framed, limits, &mut held).await;
        let framed = framed.map_err(|problem| match problem {
            Problem::TooLarge { .. } => Problem::TooLarge { limit: limits.message },
            other => other,
        })?;
        let message = match (unframe(framed)?, encoding) {
            ((false, message), _) => message,
            ((true, _), Encoding::Identity) => {
                return Err(Problem::Malformed("a compressed message names no encoding".into()));
            }
            ((true, message), encoding) => encoding.decode(message, limits, &mut held)?,
        };
        match called {
            Called::Export(signal) => {
                let authority = head.uri.authority().filter(|_| signal == Signal::Logs);
                let channel = authority.map(http::uri::Authority::as_str);
                let taken = self.intake.take_of(channel, signal, message, held).await?;
                Ok(if taken.rejected == 0 { EMPTY } else { frame(&taken.protobuf()) })
            }
            Called::Health => health(&message),
        }
    }
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheck {
    #[prost(string, tag = "1")]
    service: String,
}

/// The server as a whole and every service that it has are well as long as they answer.
fn health(message: &[u8]) -> Result<Bytes, Problem> {
    let asked = HealthCheck::decode(message).map_err(|error| Problem::malformed(&error))?;
    let is_of = |signal: Signal| {
        let service = signal.grpc_path().strip_prefix('/').and_then(|path| path.split('/').next());
        service == Some(&*asked.service)
    };
    if asked.service.is_empty() || Signal::ALL.into_iter().any(is_of) {
        Ok(SERVING)
    } else {
        Err(Problem::Service(asked.service))
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

/// A short message as a call's answer.
fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES.saturating_add(message.len()));
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Whether a request is a call in protobuf: `application/grpc` or `application/grpc+proto`.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = value
        .strip_prefix(b"application/grpc")
        .map(|rest| rest.strip_prefix(b"+proto").unwrap_or(rest));
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b';'))
}

impl Answer for Grpc {
    const HTTP2_ONLY: bool = true;

    async fn answer(&self, request: Request<Inbound>) -> Response<Reply> {
        let mut response = Response::new(Reply::default());
        if !is_grpc(request.headers()) {
            *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            response.body_mut().refused = true;
            return response;
        }
        let outcome = self.call(request).await;
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response.headers_mut().insert(ACCEPT_ENCODING, ACCEPTED);
        match outcome {
            Ok(message) => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(STATUS, OK);
                let (data, trailers) = (Some(message), Some(trailers));
                *response.body_mut() = Reply { data, trailers, refused: false };
            }
            Err(problem) => {
                refuse(&problem, response.headers_mut());
                response.body_mut().refused = true;
            }
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
