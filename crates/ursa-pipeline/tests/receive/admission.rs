//! Who is let in, and what is taken of a request.

use std::sync::Arc;

use http::request::Builder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use ursa_model::SecretText;
use ursa_pipeline::receive::{ServerFiles, Token};

use super::certificates::Authority;
use super::*;

async fn open(settings: Settings, shelf: &Arc<Shelf>) -> (Receiver, SocketAddr) {
    let sink = Arc::clone(shelf) as Arc<dyn Sink>;
    let receiver = settings.start(sink, &Registry::new(&[])).await.unwrap();
    let address = receiver.address().unwrap();
    (receiver, address)
}

fn grpc_request(path: &str) -> Builder {
    Request::post(format!("http://x{path}")).header("content-type", "application/grpc")
}

/// One call with headers over a connection of its own.
async fn call_with(address: SocketAddr, request: Builder, body: Vec<u8>) -> (u32, String) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    TaskTracker::new().spawn(connection);
    let (status, message, _) = unary(sender, request, body).await;
    (status, message)
}

#[tokio::test]
async fn a_token_is_asked_for_when_set() {
    let shelf = Arc::new(Shelf::default());
    let token = Token::new(SecretText::new("t0ken"));
    let settings =
        |protocol| Settings { token: Some(token.clone()), ..Settings::new(protocol, local()) };
    let (receiver, address) = open(settings(Protocol::OtlpHttp), &shelf).await;
    for (header, status) in
        [("x: y", 401), ("authorization: Bearer t0kem", 401), ("authorization: bearer t0ken", 200)]
    {
        let headers = format!("content-type: application/x-protobuf\r\n{header}");
        let response = post(address, "POST /v1/traces", &headers, &request(&["http"])).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{header}: {response}");
        assert_eq!(response.contains("www-authenticate: Bearer"), status == 401, "{response}");
        assert!(!response.contains("t0ken"), "{response}");
    }
    receiver.shutdown(SECOND).await;

    let (receiver, address) = open(settings(Protocol::OtlpGrpc), &shelf).await;
    let body = || frame(0, &request(&["grpc"]));
    assert_eq!(call_with(address, grpc_request(TRACES), body()).await.0, 16);
    let right = grpc_request(TRACES).header("authorization", "Bearer t0ken");
    assert_eq!(call_with(address, right, body()).await.0, 0);
    // A health check needs none.
    let health = "/grpc.health.v1.Health/Check";
    assert_eq!(call_with(address, grpc_request(health), frame(0, &[])).await.0, 0);
    let unknown = frame(0, b"\x0a\x01x");
    assert_eq!(
        call_with(address, grpc_request(health), unknown).await,
        (5, "there is no service x".into())
    );
    receiver.shutdown(SECOND).await;
    assert_eq!(shelf.names(), ["http", "grpc"]);
}

fn client(authority: &Authority, shown: Option<&str>, alpn: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(authority.path("ca.crt")).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let cert =
                CertificateDer::from_pem_file(authority.path(&format!("{name}.crt"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.into()];
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn tls_and_client_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("server", Duration::from_hours(1));
    authority.issue("client", Duration::from_hours(1));
    for mutual in [false, true] {
        let shelf = Arc::new(Shelf::default());
        let files = ServerFiles {
            cert: authority.path("server.crt"),
            key: authority.path("server.key"),
            client_ca: mutual.then(|| authority.path("ca.crt")),
        };
        let shown = mutual.then_some("client");
        let name = || ServerName::try_from("localhost").unwrap();
        let settings =
            |protocol| Settings { tls: Some(files.clone()), ..Settings::new(protocol, local()) };

        let (receiver, address) = open(settings(Protocol::OtlpGrpc), &shelf).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = client(&authority, shown, "h2").connect(name(), stream).await.unwrap();
        assert_eq!(call(stream, TRACES, None, frame(0, &request(&["h2"]))).await.0, 0);
        if mutual {
            let stream = TcpStream::connect(address).await.unwrap();
            let refused = client(&authority, None, "h2").connect(name(), stream).await;
            let told = match refused {
                Err(_) => true,
                Ok(mut stream) => stream.read_to_end(&mut Vec::new()).await.is_err(),
            };
            assert!(told);
        }
        receiver.shutdown(SECOND).await;

        let (receiver, address) = open(settings(Protocol::OtlpHttp), &shelf).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream =
            client(&authority, shown, "http/1.1").connect(name(), stream).await.unwrap();
        let body = request(&["http/1.1"]);
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = client(&authority, shown, "h2").connect(name(), stream).await.unwrap();
        drop(
            http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap(),
        );
        receiver.shutdown(SECOND).await;
        assert_eq!(shelf.names(), ["h2", "http/1.1"]);
    }
    let wrong = ServerFiles {
        cert: authority.path("server.crt"),
        key: authority.path("client.key"),
        client_ca: None,
    };
    let settings = Settings { tls: Some(wrong), ..Settings::new(Protocol::OtlpGrpc, local()) };
    let sink = Arc::new(Shelf::default()) as Arc<dyn Sink>;
    let error = settings.start(sink, &Registry::new(&[])).await.unwrap_err();
    assert!(error.source.to_string().contains("does not belong to the certificate"), "{error:?}");
}

#[tokio::test]
async fn zstd_is_taken() {
    let shelf = Arc::new(Shelf::default());
    let packed = zstd::encode_all(&*request(&["zstd"]), 3).unwrap();
    let (receiver, address) = open(Settings::new(Protocol::OtlpHttp, local()), &shelf).await;
    let headers = "content-type: application/x-protobuf\r\ncontent-encoding: zstd";
    let response = post(address, "POST /v1/traces", headers, &packed).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    receiver.shutdown(SECOND).await;
    let (receiver, address) = open(Settings::new(Protocol::OtlpGrpc, local()), &shelf).await;
    let stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(call(stream, TRACES, Some("zstd"), frame(1, &packed)).await.0, 0);
    receiver.shutdown(SECOND).await;
    assert_eq!(shelf.names(), ["zstd", "zstd"]);
}

#[tokio::test]
async fn spans_without_ids_are_rejected_and_the_others_taken() {
    let (shelf, registry) = (Arc::new(Shelf::default()), Registry::new(&[]));
    let mut mixed =
        ExportTraceServiceRequest::decode(&*request(&["good", "zero", "none"])).unwrap();
    let spans = &mut mixed.resource_spans[0].scope_spans[0].spans;
    spans[1].trace_id = vec![0; 16];
    spans[2].span_id.clear();
    let mixed = mixed.encode_to_vec();
    let (receiver, address) = http(&shelf, Limits::default(), &registry).await;
    let response =
        post(address, "POST /v1/traces", "content-type: application/x-protobuf", &mixed).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("\x08\x02\x12"), "rejected_spans and error_message: {response:?}");
    assert!(response.contains("spans without a trace id of 16 bytes"), "{response}");
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"json"}]}]}]}"#;
    let response = post(address, "POST /v1/traces", "content-type: application/json", json).await;
    assert!(response.contains(r#""partialSuccess":{"#), "{response}");
    assert!(response.contains(r#""rejectedSpans":"1""#), "{response}");
    receiver.shutdown(SECOND).await;
    let (receiver, address) = grpc(&shelf, Limits::default(), &registry).await;
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    TaskTracker::new().spawn(connection);
    let call = grpc_request(TRACES).body(Full::new(Bytes::from(frame(0, &mixed)))).unwrap();
    let answer = sender.send_request(call).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert!(answer.to_bytes()[5..].starts_with(b"\x0a"));
    receiver.shutdown(SECOND).await;
    assert_eq!(shelf.names().iter().filter(|name| *name == "good").count(), 2);
    assert!(!shelf.names().iter().any(|name| ["zero", "none", "json"].contains(&&**name)));
    let text = registry.encode();
    for series in [
        r#"accepted_items_total{receiver="otlp_http",signal="traces"} 1"#,
        r#"refused_items_total{receiver="otlp_http",signal="traces"} 3"#,
        r#"refused_items_total{receiver="otlp_grpc",signal="traces"} 2"#,
    ] {
        assert!(text.contains(series), "{series}: {text}");
    }
}

#[tokio::test]
async fn browsers_may_send_from_allowed_origins_only() {
    let shelf = Arc::new(Shelf::default());
    let origins = vec!["https://shop.example.com".to_owned()];
    let settings = Settings { origins, ..Settings::new(Protocol::OtlpHttp, local()) };
    let (receiver, address) = open(settings, &shelf).await;
    let ask = "access-control-request-method: POST\r\naccess-control-request-headers: content-type";
    for (origin, status) in [("https://shop.example.com", 204), ("https://evil.example.com", 405)] {
        let headers = format!("origin: {origin}\r\n{ask}");
        let response = post(address, "OPTIONS /v1/traces", &headers, b"").await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
        let allowed = response.contains(&format!("access-control-allow-origin: {origin}\r\n"));
        assert_eq!(allowed, status == 204, "{response}");
        assert_eq!(response.contains("access-control-allow-headers: content-type"), allowed);
        let headers = format!("origin: {origin}\r\ncontent-type: application/json");
        let response = post(address, "POST /v1/traces", &headers, b"{}").await;
        assert_eq!(response.contains("access-control-allow-origin"), allowed, "{response}");
    }
    receiver.shutdown(SECOND).await;
}

#[tokio::test]
async fn what_can_never_be_stored_is_refused_for_good() {
    let shelf = Shelf::refusing(Refusal::TooLarge { limit: 10 });
    let registry = Registry::new(&[]);
    let (receiver, address) = http(&shelf, Limits::default(), &registry).await;
    let response = post(
        address,
        "POST /v1/traces",
        "content-type: application/x-protobuf",
        &request(&["one"]),
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 413") && !response.contains("retry-after"),
        "{response}"
    );
    receiver.shutdown(SECOND).await;
    let (receiver, address) = grpc(&shelf, Limits::default(), &registry).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (status, _, headers) = call(stream, TRACES, None, frame(0, &request(&["one"]))).await;
    assert_eq!((status, headers.contains_key("grpc-status-details-bin")), (8, false));
    receiver.shutdown(SECOND).await;
}

/// Bodies of as many bytes as the limit says, nothing but what applications send. All is smaller by
/// the same factor than by default, since tests beside this one look at the memory of the process.
#[tokio::test]
async fn what_the_limit_admits_is_taken() {
    let shelf = Arc::new(Shelf::default());
    let scaled = |protocol| {
        let Limits { message, memory, .. } = Limits::of(protocol);
        let limits = Limits { message: message / 16, memory: memory / 16, ..Limits::default() };
        Settings { limits, ..Settings::new(protocol, local()) }
    };
    let whole = |limit: usize, list: &str, element: serde_json::Value| {
        let (before, after) = list.split_once('*').unwrap();
        let element = element.to_string();
        let count = (limit - list.len()) / (element.len() + 1);
        let body = format!("{before}{}{after}", vec![element; count].join(","));
        format!("{body}{}", " ".repeat(limit - body.len()))
    };
    let attributes: Vec<_> = ["service", "host"]
        .map(|key| json!({"key": key, "value": {"stringValue": "cart"}}))
        .to_vec();
    let ids = json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"});
    let with = |mut one: serde_json::Value| {
        one["attributes"] = json!(attributes);
        one
    };
    let mut span = with(json!({"name": "GET", "startTimeUnixNano": "1544712660000000000"}));
    span.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
    let point = with(json!({"timeUnixNano": "1544712660000000000", "count": "9", "sum": 9.0,
        "bucketCounts": ["1", "2", "6"], "explicitBounds": [1, 10]}));
    let metric = json!({"name": "m", "histogram": {"dataPoints": [point]}});
    let log = with(json!({"body": {"stringValue": "hello"}, "severityNumber": 9}));
    let (receiver, address) = open(scaled(Protocol::OtlpHttp), &shelf).await;
    for (path, list, element) in [
        ("/v1/traces", r#"{"resourceSpans":[{"scopeSpans":[{"spans":[*]}]}]}"#, span),
        ("/v1/metrics", r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[*]}]}]}"#, metric),
        ("/v1/logs", r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[*]}]}]}"#, log),
    ] {
        let body = whole((4 << 20) / 16, list, element);
        let headers = "content-type: application/json";
        let answer = post(address, &format!("POST {path}"), headers, body.as_bytes()).await;
        // The shelf takes traces only.
        let expected = if path == "/v1/traces" { "200" } else { "404" };
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
    }
    receiver.shutdown(SECOND).await;

    let (receiver, address) = open(scaled(Protocol::Datadog), &shelf).await;
    let span = json!([{"trace_id": 1, "span_id": 1, "name": "n".repeat(1000)}]);
    let body = whole((25 << 20) / 16, "[*]", span);
    let headers = "content-type: application/json";
    let answer = post(address, "POST /v0.4/traces", headers, body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    receiver.shutdown(SECOND).await;
}
