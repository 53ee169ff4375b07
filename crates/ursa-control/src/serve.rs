//! Serving a port: accepting connections, TLS, HTTP, and an orderly end.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::debug;

/// A peer that says nothing for so long while it should is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a quiet connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// A port that is in use, or cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error("port {} of {} is in use, and {wants} wants it; choose another with `{flag}`", address.port(), address.ip())]
    InUse {
        /// The address.
        address: SocketAddr,
        /// What should listen there.
        wants: &'static str,
        /// The command line's way to another one.
        flag: &'static str,
    },
    /// Not this machine's, not allowed, …
    #[error("listen on {address} for {wants}; `{flag}` chooses another address")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What should listen there.
        wants: &'static str,
        /// The command line's way to another one.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    /// What `source` means for `address`.
    pub(crate) fn new(
        address: SocketAddr,
        wants: &'static str,
        flag: &'static str,
        source: io::Error,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, wants, flag },
            _ => Self::Refused { address, wants, flag, source },
        }
    }
}

/// Takes an address, in the name of `wants`, which `flag` moves elsewhere.
pub(crate) async fn listen(
    address: SocketAddr,
    wants: &'static str,
    flag: &'static str,
) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| ListenError::new(address, wants, flag, source))
}

/// How a port is served.
#[derive(Clone)]
pub(crate) struct Serving {
    /// The server's side of TLS; none is plain.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Connections at once; further ones wait to be accepted.
    pub(crate) max_connections: usize,
    /// Whether only HTTP/2 is spoken.
    pub(crate) http2_only: bool,
    /// How long requests under way may take to end after `stop`.
    pub(crate) grace: Duration,
}

/// Serves until `stop`, then lets what is under way end, within the grace.
pub(crate) async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    serving: Serving,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(serving.max_connections));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accept = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a connection that died in the queue.
                debug!(%error, "accept failed");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (service, watcher, serving) = (service.clone(), graceful.watcher(), serving.clone());
        connections.spawn(async move {
            if let Err(error) = connection(stream, service, &serving, watcher).await {
                debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(serving.grace, graceful.shutdown()).await.is_err() {
        debug!("requests under way were cut off");
    }
    connections.shutdown().await;
}

async fn connection<S, B>(
    stream: TcpStream,
    service: S,
    serving: &Serving,
    watcher: Watcher,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // A response should not wait for the one before it to be acknowledged by TCP.
    stream.set_nodelay(true)?;
    match &serving.tls {
        None => http(stream, service, serving, watcher).await,
        Some(tls) => {
            let stream = timeout(PATIENCE, tls.accept(stream)).await??;
            http(stream, service, serving, watcher).await
        }
    }
}

async fn http<I, S, B>(
    io: I,
    service: S,
    serving: &Serving,
    watcher: Watcher,
) -> Result<(), Box<dyn Error + Send + Sync>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    if serving.http2_only {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(PATIENCE)
        .max_concurrent_streams(MAX_STREAMS);
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
    watcher.watch(connection).await
}
