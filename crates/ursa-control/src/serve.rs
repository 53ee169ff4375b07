//! Serving a port: accepting connections, TLS, HTTP, and an orderly end.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use tracing::debug;

/// A peer that says nothing for so long while it should is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a quiet connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A connection on which no request is under way for so long is closed, so that peers that never
/// ask for anything do not keep others out.
const IDLE: Duration = Duration::from_mins(1);
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// A port that is in use, or cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has it.
    #[error("port {} of {} is in use, so there is none for {wants}; choose another with `{flag}`", address.port(), address.ip())]
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
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    stop: CancellationToken,
) {
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
        let (router, watcher, serving) = (router.clone(), graceful.watcher(), serving.clone());
        connections.spawn(async move {
            if let Err(error) = connection(stream, router, &serving, watcher).await {
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

type Ended = Result<(), Box<dyn Error + Send + Sync>>;

async fn connection(
    stream: TcpStream,
    router: Router,
    serving: &Serving,
    watcher: Watcher,
) -> Ended {
    // A response should not wait for the one before it to be acknowledged by TCP.
    stream.set_nodelay(true)?;
    match &serving.tls {
        None => http(stream, router, serving, watcher).await,
        Some(tls) => {
            let stream = timeout(PATIENCE, tls.accept(stream)).await??;
            http(stream, router, serving, watcher).await
        }
    }
}

async fn http(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    serving: &Serving,
    watcher: Watcher,
) -> Ended {
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
    let requests = watch::Sender::new(0);
    let idle = idle(requests.subscribe());
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = UnderWay::new(requests.clone());
        let answer = router.clone().call(request);
        async move {
            let response = answer.await?;
            // Lasts as long as the body, which may be a stream.
            Ok::<_, std::convert::Infallible>(response.map(|body| {
                body.map_err(move |error| {
                    let _ = &under_way;
                    error
                })
            }))
        }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
    tokio::select! {
        ended = watcher.watch(connection) => ended,
        () = idle => Ok(()),
    }
}

/// Counts a request for as long as it lives.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(requests: watch::Sender<usize>) -> Self {
        requests.send_modify(|requests| *requests += 1);
        Self(requests)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

/// Ends when no request was under way for [`IDLE`].
async fn idle(mut requests: watch::Receiver<usize>) {
    while requests.wait_for(|requests| *requests == 0).await.is_ok() {
        if timeout(IDLE, requests.changed()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What comes back until the connection ends, and when that was.
    async fn exchange(request: &str, http2_only: bool) -> (String, Duration) {
        let slow = async || {
            sleep(5 * IDLE).await;
            "done"
        };
        let router = Router::new().route("/", get(slow));
        let listener = listen("127.0.0.1:0".parse().unwrap(), "a test", "--port").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Serving { tls: None, max_connections: 1, http2_only, grace: PATIENCE };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, router, serving, stop.clone()));
        let started = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        stop.cancel();
        tasks.join_all().await;
        (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_is_closed() {
        for http2_only in [false, true] {
            let (_, took) = exchange("", http2_only).await;
            assert!(took < 2 * IDLE, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_longer_than_that() {
        let (answer, _) = exchange("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", false).await;
        assert!(answer.ends_with("done"), "{answer}");
    }
}
