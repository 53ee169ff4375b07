//! The backend at the end: takes OTLP by gRPC and by HTTP, counts the spans in it, and says that all is well.

use std::convert::Infallible;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::spans::{each_span, start_time};

/// The longest decompressed request.
const LONGEST: u64 = 64 << 20;
/// What may be under way on a connection.
const WINDOW: u32 = 16 << 20;

/// Spans that arrived at once, begun at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// When they were sent: nanoseconds since 1970.
    pub(crate) sent: u64,
    /// When they were here.
    pub(crate) arrived: u64,
    /// How many.
    pub(crate) spans: u64,
}

impl Arrival {
    /// How long they were under way, in milliseconds.
    pub(crate) fn milliseconds(&self) -> f64 {
        self.arrived.saturating_sub(self.sent) as f64 / 1e6
    }
}

/// What has arrived.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    spans: AtomicU64,
    bytes: AtomicU64,
    strange: AtomicU64,
    last: AtomicU64,
    timed: AtomicBool,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Tally {
    /// Spans.
    pub(crate) fn spans(&self) -> u64 {
        self.spans.load(Relaxed)
    }

    /// Bytes of bodies, as they came.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Requests that were not OTLP.
    pub(crate) fn strange(&self) -> u64 {
        self.strange.load(Relaxed)
    }

    /// When the last request came: nanoseconds since 1970.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Relaxed)
    }

    /// From now on remembers when each span was sent and came.
    pub(crate) fn time(&self) {
        self.timed.store(true, Relaxed);
    }

    /// What was remembered.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many spans are here, or none has come for a while: whether they are here.
    pub(crate) async fn reaches(&self, spans: u64, patience: Duration) -> bool {
        let mut seen = self.spans();
        let mut since = Instant::now();
        while seen < spans {
            if since.elapsed() > patience {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
            let now = self.spans();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        true
    }

    fn count(&self, body: &[u8]) -> bool {
        let now = now();
        let mut arrivals: Vec<Arrival> = Vec::new();
        let mut time = |span| {
            let sent = start_time(span).and_then(|time| time.try_into().ok());
            let sent = u64::from_le_bytes(sent.unwrap_or_default());
            match arrivals.last_mut() {
                Some(last) if last.sent == sent => last.spans += 1,
                _ => arrivals.push(Arrival { sent, arrived: now, spans: 1 }),
            }
        };
        let found = if self.timed.load(Relaxed) {
            each_span(body, &mut time)
        } else {
            each_span(body, &mut |_| ())
        };
        let Some(spans) = found else { return false };
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).append(&mut arrivals);
        self.last.store(now, Relaxed);
        self.spans.fetch_add(spans as u64, Relaxed);
        true
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A running backend. Dead when dropped: its port refuses, its connections are closed.
#[derive(Debug)]
pub(crate) struct Sink {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Sink {
    /// Starts it, on a port of the system's choice unless one is named.
    pub(crate) async fn start(
        address: Option<SocketAddr>,
        tally: &Arc<Tally>,
    ) -> anyhow::Result<Self> {
        let address = address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let listener = TcpListener::bind(address).await.context("listen as the backend")?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, Arc::clone(tally)));
        Ok(Self { address, _tasks: tasks })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn listen(listener: TcpListener, tally: Arc<Tally>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((connection, _)) = accepted {
                    connections.spawn(serve(connection, Arc::clone(&tally)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(connection: TcpStream, tally: Arc<Tally>) {
    // Only speed would be lost.
    drop(connection.set_nodelay(true));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().initial_connection_window_size(WINDOW).initial_stream_window_size(WINDOW);
    let answer = service_fn(|request| {
        let tally = Arc::clone(&tally);
        async move { Ok::<_, Infallible>(answer(request, &tally).await) }
    });
    // Whoever is measured may close a connection as it likes.
    drop(server.serve_connection(TokioIo::new(connection), answer).await);
}

async fn answer(request: Request<Incoming>, tally: &Tally) -> Response<BoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    let grpc = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let counted = match body.collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            tally.bytes.fetch_add(body.len() as u64, Relaxed);
            message(&head.headers, &body, grpc).is_some_and(|message| tally.count(&message))
        }
        Err(_) => false,
    };
    if !counted {
        tally.strange.fetch_add(1, Relaxed);
    }
    let mut response = Response::new(if grpc {
        let status = HeaderValue::from_static(if counted { "0" } else { "3" });
        let trailers =
            HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), status)]);
        let empty = Full::new(Bytes::from_static(&[0; 5]));
        empty.with_trailers(async move { Some(Ok(trailers)) }).boxed()
    } else {
        Full::new(Bytes::new()).boxed()
    });
    if !grpc && !counted {
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
    }
    let kind = if grpc { "application/grpc" } else { "application/x-protobuf" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The request that a body holds, decompressed.
fn message(headers: &HeaderMap, body: &Bytes, grpc: bool) -> Option<Bytes> {
    if !grpc {
        return decompress(headers.get(CONTENT_ENCODING), body.clone());
    }
    let compressed = *body.first()? == 1;
    let message = body.slice_ref(body.get(5..)?);
    decompress(headers.get("grpc-encoding").filter(|_| compressed), message)
}

fn decompress(encoding: Option<&HeaderValue>, body: Bytes) -> Option<Bytes> {
    let mut plain = Vec::new();
    match encoding.map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => return Some(body),
        Some(b"gzip") => flate2::bufread::MultiGzDecoder::new(&*body)
            .take(LONGEST)
            .read_to_end(&mut plain)
            .ok()?,
        Some(b"zstd") => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&*body).ok()?;
            decoder.take(LONGEST).read_to_end(&mut plain).ok()?
        }
        Some(_) => return None,
    };
    Some(plain.into())
}
