//! A service whose instances fail as they are told.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Where checks of health ask.
pub(super) const HEALTH: &str = "/health";

/// How an instance answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Well.
    Well,
    /// With that status.
    Failing(u16),
    /// With 503 and well by turns.
    Moody,
    /// As `Moody` in gRPC's words: unavailable and well.
    MoodyCalls,
    /// After that time.
    Slow(Duration),
    /// Well, but not when asked for its health.
    Sick,
}

/// An instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) port: u16,
    mood: watch::Sender<Mood>,
    _task: JoinSet<()>,
}

impl Instance {
    /// One that answers with its own port.
    pub(super) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mood, current) = watch::channel(mood);
        let asked = Arc::new(AtomicU64::new(0));
        let task = serve(listener, move |stream| {
            let (current, asked) = (current.clone(), Arc::clone(&asked));
            async move {
                let answer = service_fn(move |request: Request<Incoming>| {
                    let mood = *current.borrow();
                    let turn = asked.fetch_add(1, Ordering::Relaxed);
                    answer(request, mood, turn.is_multiple_of(2), port)
                });
                let server = Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), answer).await);
            }
        });
        Self { port, mood, _task: task }
    }

    /// One that sends back what it gets.
    pub(super) async fn of_bytes() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = serve(listener, |mut stream| async move {
            let (mut read, mut write) = stream.split();
            drop(copy(&mut read, &mut write).await);
        });
        Self { port, mood: watch::channel(Mood::Well).0, _task: task }
    }

    pub(super) fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }
}

fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    connection: impl Fn(TcpStream) -> F + Send + 'static,
) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(stream));
            while connections.try_join_next().is_some() {}
        }
    });
    task
}

async fn answer(
    request: Request<Incoming>,
    mood: Mood,
    turn: bool,
    port: u16,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let health = request.uri().path() == HEALTH;
    if let Mood::Slow(time) = mood {
        tokio::time::sleep(time).await;
    }
    let status = match mood {
        Mood::Failing(status) => status,
        Mood::Moody if turn => 503,
        Mood::Sick if health => 503,
        _ => 200,
    };
    let mut response = Response::builder().status(status);
    if mood == Mood::MoodyCalls {
        let grpc_status = if turn { "14" } else { "0" };
        response =
            response.header("content-type", "application/grpc").header("grpc-status", grpc_status);
    }
    Ok(response.body(Full::from(port.to_string())).unwrap())
}
