//! Accepting connections, keeping them within their limits, and stopping.

use std::convert::Infallible;
use std::fmt::{self, Display};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::listener::Listener;
use super::reply::Reply;
use super::requests::{Begun, Requests};
use super::watch::{Inbound, Watch, Watched};
use super::{Bind, BindError, Limits, ServerFiles};
use crate::stream::Stream;
use crate::tls::ServerTls;

/// The HTTP library takes no smaller buffer.
const MIN_BUFFER: usize = 8 << 10;
/// What HTTP/1.1 reads at once at most, so that a body of many spans takes few reads.
const READ_BUFFER: usize = 128 << 10;
/// How long a new try to accept waits after the system refused (out of file descriptors).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// HTTP/2 flow-control windows: what a peer may send ahead of being read.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a frame that a peer may send: most requests are one, and need not be put together.
const FRAME: u32 = 64 << 10;
/// By ALPN.
const HTTP2: &str = "h2";
const HTTP1: &str = "http/1.1";

/// What a protocol makes of a request.
pub(super) trait Answer: Send + Sync + 'static {
    /// Whether clients speak HTTP/2 only.
    const HTTP2_ONLY: bool;

    fn answer(&self, request: Request<Inbound>) -> impl Future<Output = Response<Reply>> + Send;

    /// The protocols that TLS offers.
    fn alpn() -> &'static [&'static str] {
        if Self::HTTP2_ONLY { &[HTTP2] } else { &[HTTP2, HTTP1] }
    }
}

/// A receiver that has its address, and answers nobody yet: connections wait. Dropped, it gives the address back.
pub struct Bound {
    receiver: Receiver,
    accepting: BoxFuture<'static, ()>,
}

impl Bound {
    /// Answers from now on.
    pub fn serve(self) -> Receiver {
        let Self { receiver, accepting } = self;
        receiver.tasks.spawn(accepting);
        receiver
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

/// A receiver that runs. Dropped without [`shutdown`](Self::shutdown), it stops at once.
#[derive(Debug)]
pub struct Receiver {
    address: Option<SocketAddr>,
    tasks: TaskTracker,
    /// No new connections or requests.
    stop: CancellationToken,
    /// No connections at all.
    cut: CancellationToken,
}

impl Receiver {
    /// The TCP address that it listens on; none on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops listening, lets requests in hand finish for at most `grace`, then cuts what is left.
    /// What a sink has begun to store it finishes.
    pub async fn shutdown(self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            debug!("cutting connections that did not end in time");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

/// Where connections come in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) bind: Bind,
    pub(super) tls: Option<ServerFiles>,
    pub(super) limits: Limits,
    /// Those that end with the receiver.
    pub(super) tasks: TaskTracker,
}

/// What connections of one receiver share.
#[derive(Debug)]
struct Server<A> {
    answer: A,
    tls: Option<ServerTls>,
    limits: Limits,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

pub(super) async fn bind<A: Answer>(door: Door, answer: A) -> Result<Bound, BindError> {
    let Door { bind, tls, limits, tasks } = door;
    let tls = match tls {
        None => None,
        Some(files) => {
            let tls = ServerTls::open(files, A::alpn()).await;
            Some(tls.map_err(|error| BindError {
                at: bind.to_string(),
                source: io::Error::other(error),
            })?)
        }
    };
    let (listener, address) = Listener::open(bind).await?;
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let receiver = Receiver { address, tasks: tasks.clone(), stop: stop.clone(), cut: cut.clone() };
    let server = Arc::new(Server { answer, tls, limits, tasks, stop, cut });
    Ok(Bound { receiver, accepting: Box::pin(server.accept(listener)) })
}

impl<A: Answer> Server<A> {
    async fn accept(self: Arc<Self>, listener: Listener) {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let next = async || {
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        while let Some(Some((permit, accepted))) = self.stop.run_until_cancelled(next()).await {
            match accepted {
                Ok(stream) => {
                    let server = Arc::clone(&self);
                    self.tasks.spawn(async move {
                        server.serve(stream).await;
                        drop(permit);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    debug!(%error, "a client went away before it was accepted");
                }
                Err(error) => {
                    warn!(%error, "accept a connection");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: Box<dyn Stream>) {
        let watch = Watch::new(&self.limits);
        let greeted = timeout(self.limits.read, self.greet(stream, &watch));
        let (stream, http2) = match self.stop.run_until_cancelled(greeted).await {
            Some(Ok(Ok(greeted))) => greeted,
            Some(Ok(Err(error))) => return debug!(%error, "a connection did not begin"),
            Some(Err(_)) => return debug!("a connection did not begin in time"),
            None => return,
        };
        let (server, watched) = (Arc::clone(&self), Arc::clone(&watch));
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, in_hand) = (Arc::clone(&server), watched.begin());
            async move {
                let response = server.answer.answer(in_hand.watched(request)).await;
                in_hand.answered(response.body().refused);
                Ok::<_, Infallible>(response)
            }
        });
        let (io, requests) = (TokioIo::new(stream), Requests::default());
        if http2 {
            let connection = self.http2(&requests).serve_connection(io, service);
            self.drive(connection, requests, &watch).await;
        } else {
            let connection = self.http1().serve_connection(io, service);
            self.drive(connection, requests, &watch).await;
        }
    }

    /// Says hello, and whether in HTTP/2.
    async fn greet(
        &self,
        stream: Box<dyn Stream>,
        watch: &Arc<Watch>,
    ) -> Result<(Watched, bool), Box<dyn std::error::Error + Send + Sync>> {
        let mut http2 = A::HTTP2_ONLY;
        let stream: Box<dyn Stream> = match &self.tls {
            None => stream,
            Some(tls) => {
                let stream = TlsAcceptor::from(tls.config().await?).accept(stream).await?;
                http2 |= stream.get_ref().1.alpn_protocol() == Some(HTTP2.as_bytes());
                Box::new(stream)
            }
        };
        let mut stream = Watched::new(stream, Arc::clone(watch));
        if !http2 {
            http2 = stream.begins_http2().await?;
        }
        Ok((stream, http2))
    }

    async fn drive<C>(&self, connection: C, mut requests: Requests, watch: &Watch)
    where
        C: GracefulConnection,
        C::Error: Display,
    {
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = poll_fn(|context| requests.poll(connection.as_mut(), context)) => {
                return log(ended);
            }
            () = self.stop.cancelled() => {}
            () = watch.quiet() => debug!("closing an idle connection"),
        }
        connection.as_mut().graceful_shutdown();
        // Requests in hand end within the time to read them.
        let ending = poll_fn(|context| requests.poll(connection.as_mut(), context));
        match self.cut.run_until_cancelled(timeout(self.limits.read, ending)).await {
            Some(Ok(ended)) => log(ended),
            Some(Err(_)) | None => debug!("cutting a connection that did not end in time"),
        }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        let headers = (self.limits.headers as usize).max(MIN_BUFFER);
        builder
            // The watch looks after slow senders, without a timer for each request.
            .header_read_timeout(None)
            .max_header_size(headers)
            .max_buf_size(headers.max(READ_BUFFER));
        builder
    }

    fn http2(&self, requests: &Requests) -> http2::Builder<Begun> {
        let mut builder = http2::Builder::new(requests.begun());
        builder
            .auto_date_header(false)
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(self.limits.headers)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME);
        builder
    }
}

fn log<E: Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        debug!(%error, "a connection ended");
    }
}
