//! One connection to a backend.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt::Debug;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tracing::debug;
use ursa_model::backend::Protocol;

use super::Target;
use super::body::Pieces;
use crate::stream::Stream;
use crate::tasks::Tasks;

/// What is kept of an answer's body.
const MAX_ANSWER: usize = 64 << 10;
/// Bytes of an answer's header fields.
const MAX_HEADERS: u32 = 32 << 10;
/// HTTP/2 pings, so that a dead peer is noticed while a request waits.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How bytes travel to a backend.
#[async_trait]
pub(crate) trait Dial: Debug + Send + Sync {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>>;
}

/// Plain TCP.
#[derive(Debug)]
pub(crate) struct Tcp;

#[async_trait]
impl Dial for Tcp {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// A connection that is open, with no request on it.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(http1::SendRequest<Pieces>),
    Http2(http2::SendRequest<Pieces>),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// At most [`MAX_ANSWER`] bytes.
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
    /// Whether the body was read to its end, so that the connection can be used again.
    pub(super) complete: bool,
}

/// No answer was had.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("connect to {authority}: {error}")]
    Connect { authority: String, error: io::Error },
    #[error("open an HTTP connection: {}", causes(.0))]
    Handshake(hyper::Error),
    #[error("send the request: {}", causes(.0))]
    Send(hyper::Error),
    #[error("read the answer: {}", causes(.0))]
    Read(hyper::Error),
}

/// An error with its causes, in one line.
fn causes(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl SendError {
    /// Whether the connection had been closed before the request was handled.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Send(error)
            if error.is_canceled() || error.is_closed() || error.is_incomplete_message())
    }
}

impl Connection {
    pub(super) async fn open(
        dial: &dyn Dial,
        target: &Target,
        tasks: &TaskTracker,
    ) -> Result<Self, SendError> {
        let stream = dial.dial(&target.host, target.port).await;
        let stream = stream
            .map_err(|error| SendError::Connect { authority: target.authority.clone(), error })?;
        let io = TokioIo::new(stream);
        let ended = |ended: Result<(), hyper::Error>| {
            if let Err(error) = ended {
                debug!(%error, "a connection to a backend ended");
            }
        };
        match target.protocol {
            Protocol::Grpc => {
                let (sender, connection) = http2::Builder::new(Tasks(tasks.clone()))
                    .timer(TokioTimer::new())
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_TIMEOUT)
                    .max_header_list_size(MAX_HEADERS)
                    .handshake(io)
                    .await
                    .map_err(SendError::Handshake)?;
                tasks.spawn(async move { ended(connection.await) });
                Ok(Self::Http2(sender))
            }
            Protocol::Http => {
                let (sender, connection) = http1::Builder::new()
                    .max_buf_size(MAX_HEADERS as usize)
                    .handshake(io)
                    .await
                    .map_err(SendError::Handshake)?;
                tasks.spawn(async move { ended(connection.await) });
                Ok(Self::Http1(sender))
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }

    pub(super) async fn send(&mut self, request: Request<Pieces>) -> Result<Answer, SendError> {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.map_err(SendError::Send)?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.map_err(SendError::Send)?;
                sender.send_request(request).await
            }
        };
        read(response.map_err(SendError::Send)?).await
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, SendError> {
    let (head, mut incoming) = response.into_parts();
    let mut answer = Answer {
        status: head.status,
        headers: head.headers,
        body: Bytes::new(),
        trailers: HeaderMap::new(),
        complete: true,
    };
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        match frame.map_err(SendError::Read)?.into_data() {
            Ok(data) => {
                let room = MAX_ANSWER.saturating_sub(body.len());
                body.extend(data.iter().take(room));
                if data.len() > room {
                    answer.complete = false;
                    break;
                }
            }
            Err(frame) => answer.trailers.extend(frame.into_trailers().into_iter().flatten()),
        }
    }
    answer.body = body.freeze();
    Ok(answer)
}
