//! Makes load: requests that were encoded beforehand, over some connections, as fast as they are answered or at a
//! steady rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER, TE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::Wire;
use super::sink::now;
use super::spans::Requests;

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP: &str = "/v1/traces";
/// Connections, as of so many proxies.
const CONNECTIONS: usize = 8;
/// Requests under way on each gRPC connection.
const STREAMS: usize = 8;
/// The pause after a push-back that names none.
const PAUSE: Duration = Duration::from_millis(20);

/// What was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    /// Spans that were acknowledged.
    pub(crate) spans: u64,
    /// Requests that were pushed back, and sent again.
    pub(crate) pushed_back: u64,
}

/// A load on one program.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Vec<Client>,
    requests: Arc<Requests>,
    last: Stamp,
    connections: JoinSet<()>,
}

/// The last time that was taken.
#[derive(Debug, Default)]
struct Stamp(AtomicU64);

impl Stamp {
    /// The time given, or as little later as makes it unused.
    fn unused(&self, now: u64) -> u64 {
        let after = |last: u64| last.saturating_add(1).max(now);
        let last = self.0.fetch_update(Relaxed, Relaxed, |last| Some(after(last)));
        after(last.unwrap_or_else(|last| last))
    }
}

impl Load {
    /// Connects.
    pub(crate) async fn new(
        target: SocketAddr,
        wire: Wire,
        requests: Arc<Requests>,
    ) -> anyhow::Result<Self> {
        let mut connections = JoinSet::new();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection =
                TcpStream::connect(target).await.context("connect to what is measured")?;
            connection.set_nodelay(true)?;
            let io = TokioIo::new(connection);
            match wire {
                Wire::Http => {
                    let (sender, connection) = http1::handshake(io).await?;
                    connections.spawn(async move { drop(connection.await) });
                    clients.push(Client::Http(sender, target));
                }
                Wire::Grpc => {
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                    connections.spawn(async move { drop(connection.await) });
                    clients.extend((0..STREAMS).map(|_| Client::Grpc(sender.clone(), target)));
                }
            }
        }
        Ok(Self { clients, requests, last: Stamp::default(), connections })
    }

    /// Sends so many spans as fast as they are acknowledged.
    pub(crate) async fn flood(&mut self, spans: usize) -> anyhow::Result<Sent> {
        let wanted = spans.div_ceil(self.requests.spans());
        let next = AtomicUsize::new(0);
        let next = || {
            let number = next.fetch_add(1, Relaxed);
            (number < wanted).then_some(number)
        };
        let requests = &self.requests;
        let (spans, back) = (AtomicU64::new(0), AtomicU64::new(0));
        let all = self.clients.iter_mut().map(async |client| {
            while let Some(number) = next() {
                back.fetch_add(client.send(|| requests.plain(number)).await?, Relaxed);
                spans.fetch_add(requests.spans() as u64, Relaxed);
            }
            anyhow::Ok(())
        });
        every(all).await?;
        Ok(Sent { spans: spans.into_inner(), pushed_back: back.into_inner() })
    }

    /// Sends spans at a rate (per second) for a time, those of a request stamped with when it was sent, which no other
    /// request is. A request that is pushed back keeps its time. Slower when what is measured does not answer in time.
    pub(crate) async fn steady(&mut self, rate: f64, time: Duration) -> anyhow::Result<Sent> {
        let clients = self.clients.len();
        let between = Duration::from_secs_f64(self.requests.spans() as f64 / rate);
        let begin = Instant::now();
        let (requests, last) = (&self.requests, &self.last);
        let (spans, back) = (AtomicU64::new(0), AtomicU64::new(0));
        let all = self.clients.iter_mut().enumerate().map(async |(place, client)| {
            for number in (place..).step_by(clients) {
                let due = between.mul_f64(number as f64);
                if due >= time {
                    break;
                }
                sleep_until(begin + due).await;
                let at = last.unused(now());
                back.fetch_add(client.send(|| requests.stamped(number, at)).await?, Relaxed);
                spans.fetch_add(requests.spans() as u64, Relaxed);
            }
            anyhow::Ok(())
        });
        every(all).await?;
        Ok(Sent { spans: spans.into_inner(), pushed_back: back.into_inner() })
    }

    /// Closes the connections.
    pub(crate) async fn close(mut self) {
        self.clients.clear();
        self.connections.shutdown().await;
    }
}

/// All at once; the first error, when all have ended.
async fn every(
    all: impl Iterator<Item = impl Future<Output = anyhow::Result<()>>>,
) -> anyhow::Result<()> {
    futures::future::join_all(all).await.into_iter().collect()
}

#[derive(Debug)]
enum Client {
    Http(http1::SendRequest<Full<Bytes>>, SocketAddr),
    Grpc(http2::SendRequest<Full<Bytes>>, SocketAddr),
}

/// What became of a request.
enum Answer {
    Acknowledged,
    Later(Duration),
}

impl Client {
    /// Sends until it is acknowledged; how often it was pushed back.
    async fn send(&mut self, request: impl Fn() -> Bytes) -> anyhow::Result<u64> {
        let mut back = 0;
        loop {
            match self.once(request()).await? {
                Answer::Acknowledged => return Ok(back),
                Answer::Later(pause) => {
                    back += 1;
                    sleep(pause).await;
                }
            }
        }
    }

    async fn once(&mut self, request: Bytes) -> anyhow::Result<Answer> {
        match self {
            Self::Http(sender, target) => {
                let request = Request::post(HTTP)
                    .header("host", target.to_string())
                    .header(CONTENT_TYPE, "application/x-protobuf")
                    .body(Full::new(request))?;
                sender.ready().await?;
                let (head, body) = sender.send_request(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                match head.status {
                    StatusCode::OK => Ok(Answer::Acknowledged),
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                        Ok(Answer::Later(pause(&head.headers)))
                    }
                    status => bail!("it answered {status} {}", String::from_utf8_lossy(&body)),
                }
            }
            Self::Grpc(sender, target) => {
                let mut frame = BytesMut::with_capacity(request.len() + 5);
                frame.put_u8(0);
                frame.put_u32(u32::try_from(request.len())?);
                frame.put(request);
                let request = Request::post(format!("http://{target}{GRPC}"))
                    .header(CONTENT_TYPE, "application/grpc")
                    .header(TE, "trailers")
                    .body(Full::new(frame.freeze()))?;
                sender.ready().await?;
                status(sender.send_request(request).await?).await
            }
        }
    }
}

async fn status(response: http::Response<Incoming>) -> anyhow::Result<Answer> {
    let (head, body) = response.into_parts();
    let trailers = body.collect().await?.trailers().cloned().unwrap_or_default();
    let field = |name| trailers.get(name).or_else(|| head.headers.get(name));
    match field("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(Answer::Acknowledged),
        Some(b"8" | b"14") => Ok(Answer::Later(PAUSE)),
        status => bail!("it answered {} {status:?} {:?}", head.status, field("grpc-message")),
    }
}

fn pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(PAUSE, Duration::from_secs)
}
