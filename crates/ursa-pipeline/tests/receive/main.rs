//! The receivers over real sockets, with senders that behave and senders that do not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
#[path = "../collector/certificates.rs"]
mod certificates;
mod conformance;
mod hostile;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Limits, Protocol, Receiver, Settings};
use ursa_pipeline::{Pipeline, PipelineInputs, Received, Refusal, Sink};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const SECOND: Duration = Duration::from_secs(1);

/// Keeps what it gets, or refuses all.
#[derive(Debug, Default)]
struct Shelf {
    kept: Mutex<Vec<Bytes>>,
    refusal: Option<Refusal>,
}

#[async_trait]
impl Sink for Shelf {
    async fn accept(&self, Received { request, .. }: Received) -> Result<(), Refusal> {
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => {
                self.kept.lock().unwrap().push(request);
                Ok(())
            }
        }
    }
}

impl Shelf {
    fn refusing(refusal: Refusal) -> Arc<Self> {
        Arc::new(Self { refusal: Some(refusal), ..Self::default() })
    }

    fn names(&self) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        let requests = kept.iter().map(|kept| ExportTraceServiceRequest::decode(&**kept).unwrap());
        let spans = requests.flat_map(|request| request.resource_spans);
        let spans = spans.flat_map(|spans| spans.scope_spans).flat_map(|scope| scope.spans);
        spans.map(|span| span.name).collect()
    }
}

fn local() -> Bind {
    Bind::Tcp(([127, 0, 0, 1], 0).into())
}

async fn http(sink: &Arc<Shelf>, limits: Limits, registry: &Registry) -> (Receiver, SocketAddr) {
    let sink = Arc::clone(sink) as Arc<dyn Sink>;
    let receiver = Settings { limits, ..Settings::new(Protocol::OtlpHttp, local()) };
    let receiver = receiver.start(sink, registry).await.unwrap();
    let address = receiver.address().unwrap();
    (receiver, address)
}

async fn grpc(sink: &Arc<Shelf>, limits: Limits, registry: &Registry) -> (Receiver, SocketAddr) {
    let sink = Arc::clone(sink) as Arc<dyn Sink>;
    let receiver = Settings { limits, ..Settings::new(Protocol::OtlpGrpc, local()) };
    let receiver = receiver.start(sink, registry).await.unwrap();
    let address = receiver.address().unwrap();
    (receiver, address)
}

fn request(names: &[&str]) -> Vec<u8> {
    let span = |name: &&str| Span {
        name: (*name).to_owned(),
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        ..Span::default()
    };
    let spans = names.iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends bytes and reads until the peer closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A peer that closes with bytes unread resets the connection; what it said before counts.
    drop(timeout(10 * SECOND, stream.read_to_end(&mut answer)).await.unwrap());
    String::from_utf8_lossy(&answer).into_owned()
}

async fn post(address: SocketAddr, line: &str, headers: &str, body: &[u8]) -> String {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n\r\n"
    );
    raw(address, &[head.as_bytes(), body].concat()).await
}

/// A unary call: the status, the message of an error, and `RetryInfo`'s bytes if any.
async fn call<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    path: &str,
    encoding: Option<&str>,
    body: Vec<u8>,
) -> (u32, String, HeaderMap) {
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let tasks = TaskTracker::new();
    tasks.spawn(connection);
    let mut request = Request::post(format!("http://x{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    unary(sender, request, body).await
}

/// A call on a connection.
async fn unary(
    mut sender: http2::SendRequest<Full<Bytes>>,
    request: http::request::Builder,
    body: Vec<u8>,
) -> (u32, String, HeaderMap) {
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let mut headers = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    headers.extend(body.trailers().cloned().unwrap_or_default());
    let status = headers["grpc-status"].to_str().unwrap().parse().unwrap();
    let message = headers.get("grpc-message").map(|text| text.to_str().unwrap().to_owned());
    (status, message.unwrap_or_default(), headers)
}

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

#[tokio::test]
async fn http_takes_protobuf_and_json_plain_and_compressed() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let (receiver, address) = http(&shelf, Limits::default(), &registry).await;
    let json = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"intValue":"1"}}]},
        "scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
        "name":"json","kind":2,"startTimeUnixNano":"1544712660000000000","new":[{}]}]}]}],"new":1}"#;
    let protobuf = "content-type: application/x-protobuf";
    for (headers, body, answer) in [
        (protobuf.to_owned(), request(&["plain"]), ""),
        (format!("{protobuf}\r\ncontent-encoding: gzip"), gzip(&request(&["gzip"])), ""),
        ("content-type: application/json; charset=utf-8".to_owned(), json.to_vec(), "{}"),
        (protobuf.to_owned(), Vec::new(), ""),
    ] {
        let response = post(address, "POST /v1/traces", &headers, &body).await;
        assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        assert!(response.ends_with(&format!("\r\n\r\n{answer}")), "{response}");
    }
    assert_eq!(shelf.names(), ["plain", "gzip", "json"]);
    let accepted = r#"ursa_pipeline_accepted_items_total{receiver="otlp_http",signal="traces"} 3"#;
    assert!(registry.encode().contains(accepted), "{}", registry.encode());
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn http_says_what_is_wrong_in_the_encoding_of_the_request() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let limits = Limits { message: 1000, ..Limits::default() };
    let (receiver, address) = http(&shelf, limits, &registry).await;
    let json = "content-type: application/json";
    let gzipped = "content-type: application/json\r\ncontent-encoding: gzip";
    let deep = [&b"["[..]; 500].concat();
    let bomb = gzip(&vec![b' '; 900_000]);
    for (line, headers, body, status, message) in [
        ("GET /v1/traces", json, &b""[..], 405, r#""method GET is not allowed; use POST""#),
        ("POST /v1/spans", json, b"", 404, r#""nothing is served at /v1/spans""#),
        ("POST /v1/metrics", json, b"{}", 404, r#""metrics are not received here""#),
        ("POST /v1/traces", "x: y", b"", 415, "application/x-protobuf or application/json"),
        ("POST /v1/traces", json, b"{", 400, "EOF while parsing"),
        ("POST /v1/traces", json, &deep, 400, "\"code\":3"),
        ("POST /v1/traces", json, &[b' '; 1001], 413, "larger than 1000 bytes"),
        ("POST /v1/traces", gzipped, &bomb, 413, "larger than 1000 bytes"),
        ("POST /v1/traces", gzipped, b"{}", 400, "decompress: "),
        (
            "POST /v1/traces",
            "content-type: application/json\r\ncontent-encoding: br",
            b"",
            415,
            "gzip, zstd or identity",
        ),
        (
            "POST /v1/traces",
            "content-type: application/x-protobuf",
            b"\x0a\xff",
            400,
            "a field is cut off",
        ),
    ] {
        let response = post(address, line, headers, body).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{line} {headers}: {response}"
        );
        assert!(response.contains(message), "{line} {headers}: {response}");
        let media = if headers.contains("protobuf") { "x-protobuf" } else { "json" };
        assert!(response.contains(&format!("content-type: application/{media}")), "{response}");
    }
    assert!(shelf.names().is_empty());
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn push_back_says_when_to_come_again() {
    let registry = Registry::new(&[]);
    let after = Duration::from_millis(1500);
    for (refusal, http_status, code) in [
        (Refusal::Full { retry_after: after }, "429 Too Many Requests", 8),
        (Refusal::Unavailable { retry_after: after }, "503 Service Unavailable", 14),
    ] {
        let shelf = Shelf::refusing(refusal);
        let (receiver, address) = http(&shelf, Limits::default(), &registry).await;
        let headers = "content-type: application/x-protobuf";
        let response = post(address, "POST /v1/traces", headers, &request(&["one"])).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {http_status}")), "{response}");
        assert!(response.contains("retry-after: 2\r\n"), "{response}");
        receiver.shutdown(SECOND).await;

        let (receiver, address) = grpc(&shelf, Limits::default(), &registry).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let (status, message, headers) =
            call(stream, TRACES, None, frame(0, &request(&["one"]))).await;
        assert_eq!(status, code, "{message}");
        let details = STANDARD_NO_PAD.decode(&headers["grpc-status-details-bin"]).unwrap();
        let details = String::from_utf8_lossy(&details).into_owned();
        assert!(details.contains("type.googleapis.com/google.rpc.RetryInfo"), "{details}");
        receiver.shutdown(SECOND).await;
    }
    let refused = r#"ursa_pipeline_refused_items_total{receiver="otlp_grpc",signal="traces"} 2"#;
    assert!(registry.encode().contains(refused), "{}", registry.encode());
}

#[tokio::test]
async fn grpc_takes_calls_and_says_what_is_wrong_with_them() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let limits = Limits { message: 1000, ..Limits::default() };
    let (receiver, address) = grpc(&shelf, limits, &registry).await;
    let bomb = gzip(&vec![0; 900_000]);
    for (path, encoding, body, code, message) in [
        (TRACES, None, frame(0, &request(&["plain"])), 0, ""),
        (TRACES, Some("gzip"), frame(1, &gzip(&request(&["gzip"]))), 0, ""),
        (TRACES, Some("gzip"), frame(0, &request(&["not"])), 0, ""),
        (TRACES, None, frame(0, &[]), 0, ""),
        (METRICS, None, frame(0, &[]), 12, "metrics are not received here"),
        ("/x.Y/Z", None, frame(0, &[]), 12, "nothing is served at /x.Y/Z"),
        (TRACES, None, frame(0, b"\x0a\xff"), 3, "read the request: a field is cut off"),
        (TRACES, None, frame(0, &[0; 1001]), 8, "the request is larger than 1000 bytes"),
        (TRACES, Some("gzip"), frame(1, &bomb), 8, "the request is larger than 1000 bytes"),
        (TRACES, None, frame(1, &[]), 3, "a compressed message names no encoding"),
        (
            TRACES,
            Some("br"),
            frame(1, &[]),
            12,
            "content encoding \"br\" is not understood; use gzip, zstd or identity",
        ),
        (TRACES, None, frame(2, &[]), 3, "the message has an unknown compression flag"),
        (TRACES, None, vec![0, 0], 3, "the call carries no message"),
        (
            TRACES,
            None,
            [frame(0, &[]), frame(0, &[])].concat(),
            3,
            "the call does not carry exactly one message",
        ),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let (status, said, headers) = call(stream, path, encoding, body).await;
        assert_eq!((status, said.as_str()), (code, message));
        assert!(!headers.contains_key("grpc-status-details-bin"), "final: {message}");
    }
    assert_eq!(shelf.names(), ["plain", "gzip", "not"]);
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_cost_no_span() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let (receiver, address) = grpc(&shelf, Limits::default(), &registry).await;
    let mut bad = request(&["one", "t@o"]);
    let at = bad.iter().position(|byte| *byte == b'@').unwrap();
    bad[at] = 0xff;
    let stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(call(stream, TRACES, None, frame(0, &bad)).await.0, 0);
    assert_eq!(shelf.names(), ["one", "t?o"]);
    let mended = r#"ursa_pipeline_mended_texts_total{receiver="otlp_grpc"} 1"#;
    assert!(registry.encode().contains(mended), "{}", registry.encode());
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn a_unix_socket_is_private_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let start = async || {
        let sink = Arc::clone(&shelf) as Arc<dyn Sink>;
        Settings::new(Protocol::OtlpGrpc, Bind::Unix(path.clone())).start(sink, &registry).await
    };
    std::fs::write(&path, "precious").unwrap();
    let refused = start().await.unwrap_err();
    assert_eq!(refused.source.kind(), std::io::ErrorKind::AlreadyExists);
    std::fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let before = start().await.unwrap();
    let receiver = start().await.unwrap();
    // One whose socket was replaced leaves its successor's alone.
    before.shutdown(SECOND).await;
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(call(stream, TRACES, None, frame(0, &request(&["one"]))).await.0, 0);
    assert_eq!(shelf.names(), ["one"]);
    receiver.shutdown(SECOND).await;
    assert!(!Path::exists(&path));
}

#[tokio::test]
async fn slow_idle_and_greedy_senders_are_cut_off() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let short = Duration::from_millis(200);
    let limits = Limits { read: short, idle: short, headers: 8 << 10, ..Limits::default() };
    let (receiver, address) = http(&shelf, limits.clone(), &registry).await;
    let start = Instant::now();
    let trickle = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 10\r\n\r\n\x0a";
    let response = raw(address, trickle).await;
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable"), "{response}");
    assert!(response.contains("retry-after: 1\r\n"), "{response}");
    assert_eq!(raw(address, b"").await, "");
    raw(address, b"POST /v1/traces HTTP/1.1\r\nhos").await;
    let large =
        format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\nbig: {}\r\n\r\n", "x".repeat(9 << 10));
    let response = raw(address, large.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    assert!(start.elapsed() < 5 * SECOND);
    receiver.shutdown(SECOND).await;

    let (receiver, address) = grpc(&shelf, limits, &registry).await;
    raw(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw(address, b"GET / HTTP/1.1\r\n\r\n").await;
    receiver.shutdown(SECOND).await;
}

/// A request that did not arrive in time was not taken, and may be sent again.
#[tokio::test]
async fn a_call_that_does_not_arrive_in_time_may_be_repeated() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let limits = Limits { read: Duration::from_millis(200), ..Limits::default() };
    let (receiver, address) = grpc(&shelf, limits, &registry).await;
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let tasks = TaskTracker::new();
    tasks.spawn(connection);
    let start = Frame::data(Bytes::from(frame(0, &request(&["one"]))).slice(..9));
    let start = stream::iter([Ok::<_, std::convert::Infallible>(start)]);
    let body = StreamBody::new(start.chain(stream::pending()));
    let request =
        Request::post(format!("http://x{TRACES}")).header("content-type", "application/grpc");
    let answered = sender.send_request(request.body(body).unwrap());
    let response = timeout(10 * SECOND, answered).await.unwrap().unwrap();
    // DEADLINE_EXCEEDED, with `RetryInfo`.
    assert_eq!(response.headers()["grpc-status"], "4");
    assert!(response.headers().contains_key("grpc-status-details-bin"));
    assert_eq!(shelf.names(), [""; 0]);
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn memory_and_connections_are_bounded() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let limits = Limits { memory: 100, connections: 2, ..Limits::default() };
    let (receiver, address) = http(&shelf, limits, &registry).await;
    let headers = "content-type: application/x-protobuf";
    let response = post(address, "POST /v1/traces", headers, &request(&[&"x".repeat(100)])).await;
    assert!(response.starts_with("HTTP/1.1 429"), "{response}");
    assert!(response.contains("retry-after: 1\r\n"), "{response}");
    let json = [&b"{"[..], &b"{},".repeat(20)].concat();
    let response = post(address, "POST /v1/traces", "content-type: application/json", &json).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");

    // Two connections hold the receiver; a third is served when one of them ends.
    let first = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    let body = request(&["third"]);
    let third = post(address, "POST /v1/traces", headers, &body);
    tokio::pin!(third);
    assert!(timeout(Duration::from_millis(200), third.as_mut()).await.is_err());
    drop(first);
    assert!(third.await.starts_with("HTTP/1.1 200"));
    receiver.shutdown(SECOND).await;
}

/// Stores when it is told to.
#[derive(Debug, Default)]
struct Slow(tokio::sync::Notify, Mutex<usize>);

#[async_trait]
impl Sink for Slow {
    async fn accept(&self, _: Received) -> Result<(), Refusal> {
        *self.1.lock().unwrap() += 1;
        self.0.notified().await;
        Ok(())
    }
}

#[tokio::test]
async fn memory_is_held_until_all_is_stored_though_senders_go_away() {
    let (slow, registry) = (Arc::new(Slow::default()), Registry::new(&[]));
    let limits = Limits { memory: 1000, ..Limits::default() };
    let receiver = Settings { limits, ..Settings::new(Protocol::OtlpHttp, local()) };
    let sink = Arc::clone(&slow) as Arc<dyn Sink>;
    let receiver = receiver.start(sink, &registry).await.unwrap();
    let address = receiver.address().unwrap();
    let (headers, body) = ("content-type: application/x-protobuf", request(&[&"x".repeat(600)]));
    {
        let mut gone = pin!(post(address, "POST /v1/traces", headers, &body));
        while *slow.1.lock().unwrap() == 0 {
            assert!(timeout(Duration::from_millis(5), gone.as_mut()).await.is_err());
        }
    }
    // Its connection ends at the receiver sooner or later; its memory stays held.
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        let refused = post(address, "POST /v1/traces", headers, &body).await;
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    }
    slow.0.notify_one();
    let accepted = r#"accepted_items_total{receiver="otlp_http",signal="traces"} 1"#;
    timeout(10 * SECOND, async {
        while !registry.encode().contains(accepted) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    slow.0.notify_one();
    let taken = post(address, "POST /v1/traces", headers, &body).await;
    assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn shutting_down_ends_idle_connections_and_cuts_slow_ones() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let (receiver, address) = http(&shelf, Limits::default(), &registry).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    idle.write_all(head).await.unwrap();
    assert!(idle.read(&mut [0; 1000]).await.unwrap() > 0);
    let start = Instant::now();
    receiver.shutdown(5 * SECOND).await;
    assert!(start.elapsed() < 4 * SECOND);
    assert!(TcpStream::connect(address).await.is_err());

    let (receiver, address) = http(&shelf, Limits::default(), &registry).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = "content-type: application/x-protobuf\r\ncontent-length: 10\r\n\r\n";
    let head = format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n{head}");
    slow.write_all(head.as_bytes()).await.unwrap();
    assert!(slow.read(&mut [0; 1000]).await.unwrap() > 0, "100 Continue");
    let start = Instant::now();
    receiver.shutdown(Duration::from_millis(200)).await;
    assert!(start.elapsed() < 5 * SECOND);
}

#[tokio::test]
async fn what_is_accepted_is_enqueued_for_every_backend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("otlp.sock");
    let registry = Registry::new(&[]);
    let inputs = PipelineInputs {
        environment: BTreeMap::new(),
        detected: BTreeMap::new(),
        registry: registry.clone(),
        storage: None,
    };
    let pipeline = Pipeline::start(inputs);
    // Nothing listens there: what is taken waits.
    let backends = ["a", "b"]
        .map(|name| json!({"name": name, "spec": {"openTelemetry": {"endpoint": "127.0.0.1:1"}}}));
    let config = json!({"traces": {"backends": backends}});
    pipeline.reconfigure(serde_json::from_value(config).unwrap(), &BTreeMap::new()).await;
    let receiver = Settings::new(Protocol::OtlpGrpc, Bind::Unix(path.clone()));
    let receiver = receiver.start(pipeline.sink(), &registry).await.unwrap();
    for _ in 0..5 {
        let stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(call(stream, TRACES, None, frame(0, &request(&["one", "two"]))).await.0, 0);
    }
    // What is shown once a second is shown when it is asked for, too.
    pipeline.status().await;
    let text = registry.encode();
    for series in [
        r#"accepted_items_total{receiver="otlp_grpc",signal="traces"} 10"#,
        r#"enqueued_items_total{backend="a",signal="traces"} 10"#,
        r#"enqueued_items_total{backend="b",signal="traces"} 10"#,
        r#"queue_items{backend="a",signal="traces"} 10"#,
        r#"sent_items_total{backend="a",protocol="grpc",signal="traces"} 0"#,
    ] {
        assert!(text.contains(series), "{series}: {text}");
    }
    receiver.shutdown(SECOND).await;
    assert_eq!(pipeline.shutdown(Duration::ZERO).await, 20);
}
