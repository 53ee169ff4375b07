//! A port on which Prometheus is answered. It stays open while what is answered changes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use ursa_pipeline::receive::{ServerFiles, ServerTls};

use super::gather::Gather;
use super::output::Output;
use super::serve;

/// How often it is tried to open a port that another program has, or whose certificate is not there.
const RETRY: Duration = Duration::from_millis(500);
/// Connections of one port.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for TLS, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Unset: all of the machine.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => SocketAddr::new(address, self.port).fmt(f),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) paths: BTreeMap<String, Arc<Output>>,
    pub(super) gather: Arc<Gather>,
}

/// An open port, or one that is tried to open. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Port {
    place: Place,
    routes: watch::Sender<Arc<Routes>>,
    /// Why it is not open.
    closed: watch::Receiver<Option<String>>,
    _stop: DropGuard,
}

impl Port {
    pub(super) fn open(
        place: Place,
        tls: Option<ServerFiles>,
        routes: Arc<Routes>,
        tasks: &TaskTracker,
    ) -> Self {
        let (routes, routed) = watch::channel(routes);
        let (why, closed) = watch::channel(None);
        let stop = CancellationToken::new();
        let server =
            Server { place, tls: None, routes: routed, tasks: tasks.clone(), stop: stop.clone() };
        tasks.spawn(stop.clone().run_until_cancelled_owned(server.run(tls, why)));
        Self { place, routes, closed, _stop: stop.drop_guard() }
    }

    /// Answers otherwise from the next request on.
    pub(super) fn use_routes(&self, routes: Arc<Routes>) {
        self.routes.send_replace(routes);
    }

    /// Why it is not open.
    pub(super) fn warning(&self) -> Option<String> {
        let why = self.closed.borrow().clone()?;
        Some(format!("Prometheus is not answered on {}: {why}", self.place))
    }
}

struct Server {
    place: Place,
    tls: Option<Arc<ServerTls>>,
    routes: watch::Receiver<Arc<Routes>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    async fn run(mut self, files: Option<ServerFiles>, why: watch::Sender<Option<String>>) {
        let listener = loop {
            match self.try_open(files.as_ref()).await {
                Ok(listener) => break listener,
                Err(error) => {
                    let is_new = why.borrow().as_deref() != Some(&error);
                    if is_new {
                        tracing::warn!(place = %self.place, error, "Prometheus is not answered");
                    }
                    why.send_replace(Some(error));
                    sleep(RETRY).await;
                }
            }
        };
        why.send_replace(None);
        tracing::info!(place = %self.place, tls = self.place.is_tls, "answering Prometheus");
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => self.begin(stream, permit),
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be accepted");
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn try_open(&mut self, files: Option<&ServerFiles>) -> Result<TcpListener, String> {
        if let Some(files) = files
            && self.tls.is_none()
        {
            let tls = ServerTls::open(files.clone(), &["http/1.1"]).await;
            self.tls = Some(Arc::new(tls.map_err(|error| error.to_string())?));
        }
        self.bind().await.map_err(|error| error.to_string())
    }

    async fn bind(&self) -> io::Result<TcpListener> {
        let at = |address: IpAddr| TcpListener::bind((address, self.place.port));
        match self.place.address {
            Some(address) => at(address).await,
            // Of both kinds; where the system knows no IPv6, of the other.
            None => match at(Ipv6Addr::UNSPECIFIED.into()).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                Err(_) => at(Ipv4Addr::UNSPECIFIED.into()).await,
                opened => opened,
            },
        }
    }

    /// Serves a connection in a task of its own.
    fn begin(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let (routes, tasks, stop) = (self.routes.clone(), self.tasks.clone(), self.stop.clone());
        let tls = self.tls.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            let Some(tls) = tls else {
                connection(stream, routes, tasks, stop).await;
                return;
            };
            let Ok(config) = tls.config().await else { return };
            let accepting = TlsAcceptor::from(config).accept(stream);
            match timeout(PATIENCE, accepting).await {
                Ok(Ok(stream)) => connection(stream, routes, tasks, stop).await,
                Ok(Err(error)) => tracing::debug!(%error, "TLS with Prometheus failed"),
                Err(_) => tracing::debug!("TLS with Prometheus was not set up in time"),
            }
        });
    }
}

async fn connection<S>(
    stream: S,
    routes: watch::Receiver<Arc<Routes>>,
    tasks: TaskTracker,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let current = Arc::clone(&routes.borrow());
        let answer = serve::answer(&current, &request, &tasks);
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(64 * 1024);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            timeout(PATIENCE, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of Prometheus ended");
    }
}
