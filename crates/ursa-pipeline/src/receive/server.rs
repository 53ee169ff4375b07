//! Accepting connections, keeping them within their limits, and stopping.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::listener::Listener;
use super::reply::Reply;
use super::{Bind, BindError, Limits};
use crate::stream::Stream;
use crate::tasks::Tasks;

/// Header fields of a request over HTTP/1.1.
const MAX_HEADERS: usize = 64;
/// The HTTP library takes no smaller buffer.
const MIN_BUFFER: usize = 8 << 10;
/// How long a new try to accept waits after the system refused (out of file descriptors).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// HTTP/2 pings look after connections whose peer vanished.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 flow-control windows: what a peer may send ahead of being read.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What a protocol makes of a request.
pub(super) trait Answer: Clone + Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Reply>> + Send;
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

/// What connections of one receiver share.
#[derive(Debug, Clone)]
struct Server<A> {
    answer: A,
    limits: Limits,
    http2_only: bool,
    tasks: TaskTracker,
    stop: CancellationToken,
    cut: CancellationToken,
}

pub(super) async fn start<A: Answer>(
    bind: Bind,
    limits: Limits,
    http2_only: bool,
    answer: A,
) -> Result<Receiver, BindError> {
    let (listener, address) = Listener::open(bind).await?;
    let tasks = TaskTracker::new();
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let receiver = Receiver { address, tasks: tasks.clone(), stop: stop.clone(), cut: cut.clone() };
    let server = Server { answer, limits, http2_only, tasks: tasks.clone(), stop, cut };
    tasks.spawn(server.accept(listener));
    Ok(receiver)
}

impl<A: Answer> Server<A> {
    async fn accept(self, listener: Listener) {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let next = async || {
            let permit = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        while let Some(Some((permit, accepted))) = self.stop.run_until_cancelled(next()).await {
            match accepted {
                Ok(stream) => {
                    let server = self.clone();
                    self.tasks.spawn(async move {
                        server.cut.run_until_cancelled(server.serve(stream)).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    warn!(%error, "accept a connection");
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    async fn serve(&self, stream: Box<dyn Stream>) {
        let builder = self.builder();
        let activity = Activity::new();
        let service = service_fn(|request| {
            let busy = activity.begin();
            let answer = self.answer.clone();
            async move {
                let response = answer.answer(request).await;
                drop(busy);
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = connection.as_mut() => return log(ended),
            () = self.stop.cancelled() => {}
            () = activity.idle(self.limits.idle) => debug!("closing an idle connection"),
        }
        connection.as_mut().graceful_shutdown();
        // Requests in hand end within the time to read them.
        match timeout(self.limits.read, connection).await {
            Ok(ended) => log(ended),
            Err(_) => debug!("cutting a connection that did not end in time"),
        }
    }

    fn builder(&self) -> Builder<Tasks> {
        let limits = &self.limits;
        let mut builder = Builder::new(Tasks(self.tasks.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.read)
            .max_headers(MAX_HEADERS)
            .max_buf_size((limits.headers as usize).max(MIN_BUFFER));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.headers)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        if self.http2_only { builder.http2_only() } else { builder }
    }
}

fn log(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        debug!(%error, "a connection ended");
    }
}

/// When a connection last had a request.
#[derive(Debug, Clone)]
struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    requests: usize,
    last: Instant,
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { requests: 0, last: Instant::now() })))
    }

    fn update(&self, change: impl FnOnce(usize) -> usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { requests: change(state.requests), last: Instant::now() };
    }

    fn begin(&self) -> Busy {
        self.update(|requests| requests.saturating_add(1));
        Busy(self.clone())
    }

    /// Returns when there was no request for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let until = {
                let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let since = if state.requests > 0 { Instant::now() } else { state.last };
                since.checked_add(limit)
            };
            match until {
                Some(until) if until <= Instant::now() => return,
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// A request in hand.
#[derive(Debug)]
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.update(|requests| requests.saturating_sub(1));
    }
}
