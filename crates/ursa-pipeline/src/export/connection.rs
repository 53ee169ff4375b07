//! One connection to a backend.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::body::Pieces;
use super::dial::Dial;
use super::gathered::Gathered;
use super::proxy::{Proxy, ProxyError};
use super::sniff::{First, Sniffed};
use super::target::Target;
use super::trouble::Trouble;
use crate::stream::Stream;
use crate::tasks::Tasks;
use crate::tls::{self, ClientTls};

/// What is kept of an answer's body.
const MAX_ANSWER: usize = 64 << 10;
/// Bytes of an answer's header fields.
const MAX_HEADERS: u32 = 32 << 10;
/// HTTP/2 pings, so that a dead peer is noticed while a request waits.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that is open. That of HTTP/1 has no request on it; that of HTTP/2 is shared.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: Sender,
    /// Of the TLS files that it was made with.
    pub(super) generation: u64,
    pub(super) spoken: SpokenOn,
}

#[derive(Debug)]
pub(super) enum Sender {
    Http1(http1::SendRequest<Pieces>),
    Http2(http2::SendRequest<Pieces>),
}

/// The first bytes that came on a connection: on the wire, and inside of TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct SpokenOn {
    pub(super) wire: First,
    pub(super) inside: First,
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

/// How connections to one backend are made.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) target: Target,
    pub(super) tls: Option<ClientTls>,
    pub(super) proxy: Option<Proxy>,
    pub(super) dial: Arc<dyn Dial>,
    pub(super) tasks: TaskTracker,
}

impl Connector {
    /// Whether requests name the whole URL, for a proxy that passes each on.
    pub(super) fn whole_urls(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| self.tls.is_none() && !self.target.http2)
    }

    /// Opens a connection: TCP, a tunnel, TLS and HTTP, as far as each is wanted. `reached` is told
    /// when TCP and the tunnel are there.
    pub(super) async fn open(&self, reached: impl FnOnce()) -> Result<Connection, Trouble> {
        let spoken = SpokenOn::default();
        let stream = self.reach().await?;
        reached();
        let stream = Sniffed { stream, first: spoken.wire.clone() };
        let Some(tls) = &self.tls else {
            let http2 = self.target.http2;
            let sender = self.http(stream, http2, &spoken).await?;
            return Ok(Connection { sender, generation: 0, spoken });
        };
        let current = tls.current(Duration::ZERO).await.map_err(Trouble::TlsSetup)?;
        let generation = current.generation;
        let connecting = TlsConnector::from(current.config).connect(current.name, stream).await;
        let stream = connecting.map_err(|error| self.target.tls_trouble(tls, &error, &spoken))?;
        let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let http2 = self.target.http2 || agreed;
        let stream = Sniffed { stream, first: spoken.inside.clone() };
        let sender = self.http(stream, http2, &spoken).await?;
        Ok(Connection { sender, generation, spoken })
    }

    /// The bytes of a connection, to the backend or to a proxy that passes requests on.
    async fn reach(&self) -> Result<Box<dyn Stream>, Trouble> {
        let Some(proxy) = &self.proxy else {
            let Target { host, port, .. } = &self.target;
            return self
                .dial
                .dial(host, *port)
                .await
                .map_err(|error| self.target.unreached(&error));
        };
        let dialled = self.dial.dial(&proxy.host, proxy.port).await;
        let stream = dialled.map_err(|error| Trouble::proxy(proxy, &error.into()))?;
        self.through(proxy, stream).await
    }

    /// Goes on from a connection to the proxy, to where requests are understood.
    pub(super) async fn through(
        &self,
        proxy: &Proxy,
        mut stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>, Trouble> {
        let failed = |error: ProxyError| Trouble::proxy(proxy, &error);
        if proxy.secure {
            let tls = ClientTls::new(&ursa_model::backend::Tls::default(), &proxy.host, &[]);
            let tls: tls::Current = tls.current(Duration::ZERO).await.map_err(Trouble::TlsSetup)?;
            let name: ServerName<'static> = tls.name;
            let secured = TlsConnector::from(tls.config).connect(name, stream).await;
            let secured = secured.map_err(|error| failed(error.into()))?;
            stream = Box::new(secured);
        }
        if self.whole_urls().is_none() {
            proxy.tunnel(&mut stream, &self.target.authority).await.map_err(failed)?;
        }
        Ok(stream)
    }

    async fn http(
        &self,
        stream: impl Stream + 'static,
        http2: bool,
        spoken: &SpokenOn,
    ) -> Result<Sender, Trouble> {
        let failed = |error: hyper::Error| {
            self.target.http_trouble(self.tls.as_ref(), &error, spoken, "open an HTTP connection")
        };
        let ended = |ended: Result<(), hyper::Error>| {
            if let Err(error) = ended {
                debug!(%error, "a connection to a backend ended");
            }
        };
        if http2 {
            let (sender, connection) = http2::Builder::new(Tasks(self.tasks.clone()))
                .timer(TokioTimer::new())
                .keep_alive_interval(PING_EVERY)
                .keep_alive_timeout(PING_TIMEOUT)
                .max_header_list_size(MAX_HEADERS)
                .handshake(TokioIo::new(Gathered::new(stream)))
                .await
                .map_err(failed)?;
            self.tasks.spawn(async move { ended(connection.await) });
            Ok(Sender::Http2(sender))
        } else {
            let (sender, connection) = http1::Builder::new()
                .max_buf_size(MAX_HEADERS as usize)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(failed)?;
            self.tasks.spawn(async move { ended(connection.await) });
            Ok(Sender::Http1(sender))
        }
    }
}

/// A request had no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: hyper::Error,
    /// What was being done.
    pub(super) doing: &'static str,
}

impl Unanswered {
    /// Whether the connection had been closed before the request was handled.
    pub(super) fn is_stale(&self) -> bool {
        self.doing == SEND
            && (self.error.is_canceled()
                || self.error.is_closed()
                || self.error.is_incomplete_message())
    }
}

const SEND: &str = "send the request";
const READ: &str = "read the answer";

impl Connection {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    pub(super) async fn send(&mut self, request: Request<Pieces>) -> Result<Answer, Unanswered> {
        let failed = |error| Unanswered { error, doing: SEND };
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(failed)?;
                sender.send_request(request).await
            }
        };
        read(response.map_err(failed)?).await
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Unanswered> {
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
        match frame.map_err(|error| Unanswered { error, doing: READ })?.into_data() {
            Ok(data) => {
                let room = MAX_ANSWER.saturating_sub(body.len());
                body.extend_from_slice(data.get(..room).unwrap_or(&data));
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

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl From<tls::TlsError> for io::Error {
    fn from(error: tls::TlsError) -> Self {
        Self::other(error)
    }
}
