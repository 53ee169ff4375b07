//! What goes wrong on the way, each in its own words.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A server's SETTINGS frame, empty.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// A TLS alert: protocol version.
const ALERT: &[u8] = &[0x15, 3, 1, 0, 2, 2, 70];

/// What comes of a backend that reads a little, says `bytes`, and closes.
async fn against(spec: serde_json::Value, bytes: &'static [u8]) -> String {
    let (port, _serving) = port(move |mut stream| async move {
        let mut some = [0; 16];
        drop(stream.read(&mut some).await);
        drop(stream.write_all(bytes).await);
        // What is closed with bytes unread is reset, and loses what was said.
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let text = spec.to_string().replace("PORT", &port.to_string());
    let exporter = exporter(&serde_json::from_str(&text).unwrap());
    words(exporter.send(&payload()).await, port)
}

#[tokio::test]
async fn a_wrong_protocol_is_named() {
    const HTTP1: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let grpc = || json!({"endpoint": "127.0.0.1:PORT"});
    let http = || json!({"endpoint": "http://127.0.0.1:PORT"});
    let https = || json!({"endpoint": "https://127.0.0.1:PORT"});
    for (spec, said, expected) in [
        (
            grpc(),
            HTTP1,
            "unavailable: 127.0.0.1:PORT speaks HTTP/1 on this port, and gRPC needs HTTP/2 \
             (set `protocol: http`, or use the port for gRPC, usually 4317)",
        ),
        (
            grpc(),
            ALERT,
            "tls: 127.0.0.1:PORT speaks TLS on this port, not plaintext \
             (switch TLS on: `tls: {}`)",
        ),
        (
            http(),
            SETTINGS,
            "unavailable: 127.0.0.1:PORT speaks HTTP/2 alone on this port, as gRPC does \
             (set `protocol: grpc`, or use the port for HTTP, usually 4318)",
        ),
        (
            http(),
            ALERT,
            "tls: 127.0.0.1:PORT speaks TLS on this port, not plaintext \
             (write `https://` in the endpoint)",
        ),
        (
            https(),
            HTTP1,
            "tls: 127.0.0.1:PORT speaks plain HTTP/1 on this port, not TLS (write `http://` in \
             the endpoint or leave `tls` out, or use the port for TLS)",
        ),
        (
            https(),
            SETTINGS,
            "tls: 127.0.0.1:PORT speaks plain HTTP/2 on this port, not TLS (write `http://` in \
             the endpoint or leave `tls` out, or use the port for TLS)",
        ),
        (
            https(),
            b"",
            "tls: no TLS with 127.0.0.1:PORT: tls handshake eof \
             (look whether the port is for TLS, and at the backend's log)",
        ),
        (
            http(),
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc",
            "unavailable: read the answer: error reading a body from connection: end of file \
             before message length reached",
        ),
        (
            http(),
            b"",
            "unavailable: 127.0.0.1:PORT closed the connection without a word (it may want TLS \
             (`https://`, or `tls: {}` for gRPC), or the port is not for OTLP)",
        ),
        (
            http(),
            b"SSH-2.0-OpenSSH_9.9\r\n",
            "unavailable: send the request: invalid HTTP version parsed",
        ),
    ] {
        assert_eq!(against(spec, said).await, expected);
    }
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let (port, mut serving) = port(|_| async {}).await;
    serving.shutdown().await;
    let refused = exporter(&json!({"endpoint": format!("127.0.0.1:{port}")}));
    assert_eq!(
        words(refused.send(&payload()).await, port),
        "unavailable: connect to 127.0.0.1:PORT: Connection refused (os error 111) \
         (nothing listens there: look at host and port, and whether the backend runs)"
    );
    let unknown = exporter(&json!({"endpoint": "http://backend.invalid"}));
    let words = words(unknown.send(&payload()).await, 1);
    assert!(words.starts_with("unavailable: look up backend.invalid: "), "{words}");
    assert!(
        words.ends_with("(look at the host's name in `endpoint`, and at this host's DNS)"),
        "{words}"
    );
}

#[tokio::test]
async fn a_silent_backend_is_a_timeout_and_the_next_attempt_connects_anew() {
    let silent = |mut stream: TcpStream| async move {
        drop(stream.read_to_end(&mut Vec::new()).await);
    };
    for (endpoint, expected) in [
        ("127.0.0.1:PORT", "timeout: no answer within 200ms"),
        ("http://127.0.0.1:PORT", "timeout: no answer within 200ms"),
        ("https://127.0.0.1:PORT", "timeout: no TLS with 127.0.0.1:PORT within 200ms"),
    ] {
        let (port, mut serving) = port(silent).await;
        let endpoint = endpoint.replace("PORT", &port.to_string());
        let exporter = exporter(&json!({"endpoint": endpoint, "timeout": "200ms"}));
        let said = words(exporter.send(&payload()).await, port);
        assert!(said.starts_with(expected), "{said}");
        serving.shutdown().await;
        if !endpoint.starts_with("https") {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let backend = Backend::start_at(address, None).await;
            assert_eq!(exporter.send(&payload()).await, delivered());
            backend.stop().await;
        }
    }
}

#[tokio::test]
async fn connections_are_shared_or_kept() {
    for (endpoint, at_once, expected) in [("", 20, 1), ("http://", 1, 1), ("http://", 6, 6)] {
        let backend = Backend::start(None).await;
        let endpoint = format!("{endpoint}{}", backend.address);
        let exporter = Arc::new(exporter(&json!({"endpoint": endpoint})));
        for _ in 0..3 {
            let mut sends = JoinSet::new();
            for _ in 0..at_once {
                let exporter = Arc::clone(&exporter);
                sends.spawn(async move { exporter.send(&payload()).await });
            }
            assert_eq!(sends.join_all().await, vec![delivered(); at_once]);
        }
        let made = *backend.connections.lock().unwrap();
        assert!((1..=expected * 3).contains(&made) && (at_once > 1 || made == 1), "{made}");
        if endpoint.starts_with("127") {
            assert_eq!(made, 1, "HTTP/2 is shared");
        }
        assert_eq!(backend.seen().len(), 3 * at_once);
        backend.stop().await;
    }
}

#[tokio::test]
async fn a_backend_that_restarts_costs_nothing() {
    for endpoint in ["", "http://"] {
        let backend = Backend::start(None).await;
        let address = backend.address;
        let exporter = exporter(&json!({"endpoint": format!("{endpoint}{address}")}));
        assert_eq!(exporter.send(&payload()).await, delivered());
        backend.stop().await;
        let backend = Backend::start_at(address, None).await;
        assert_eq!(exporter.send(&payload()).await, delivered());
        backend.stop().await;
    }
}
