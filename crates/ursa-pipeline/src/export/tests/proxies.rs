//! Proxies on the way.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};

use super::proxy::{Way, choose};
use super::*;

#[test]
fn the_proxy_is_chosen_by_the_variables() {
    type Environment<'a> = &'a [(&'a str, &'a str)];
    let both: Environment<'_> = &[("HTTPS_PROXY", "http://s:1"), ("http_proxy", "p:2")];
    let without = |list: &'static str| {
        vec![("HTTPS_PROXY", "http://s:1"), ("HTTP_PROXY", "http://p:2"), ("NO_PROXY", list)]
    };
    for (environment, way, host, expected) in [
        (both, Way::Secure, "b", Some("s:1")),
        (both, Way::Grpc, "b", Some("s:1")),
        (both, Way::Plain, "b", Some("p:2")),
        (&both[1..], Way::Grpc, "b", Some("p:2")),
        (&both[1..], Way::Secure, "b", None),
        (&[("all_proxy", "https://a")], Way::Secure, "b", Some("a:443")),
        (&[("ALL_PROXY", "http://[::1]:8/x")], Way::Plain, "b", Some("[::1]:8")),
        (&[("HTTP_PROXY", "")], Way::Plain, "b", None),
        (both, Way::Plain, "localhost", None),
        (both, Way::Secure, "127.0.0.9", None),
        (both, Way::Secure, "::1", None),
        (&without("*"), Way::Secure, "b", None),
        (&without("example.com"), Way::Secure, "api.example.com", None),
        (&without("example.com"), Way::Secure, "example.com", None),
        (&without("example.com"), Way::Secure, "notexample.com", Some("s:1")),
        (&without(".example.com"), Way::Secure, "API.Example.COM.", None),
        (&without(".example.com"), Way::Secure, "example.com", Some("s:1")),
        (&without("*.example.com"), Way::Secure, "a.example.com", None),
        (&without("x, b:4317"), Way::Secure, "b", None),
        (&without("x, b:4318"), Way::Secure, "b", Some("s:1")),
        (&without("10.1.2.3"), Way::Plain, "10.1.2.3", None),
        (&without("10.0.0.0/8"), Way::Plain, "10.1.2.3", None),
        (&without("10.0.0.0/16"), Way::Plain, "10.1.2.3", Some("p:2")),
        (&without("0.0.0.0/0"), Way::Plain, "10.1.2.3", None),
        (&without("fd00::/8"), Way::Plain, "fd12::1", None),
        (&without("fd00::/8"), Way::Plain, "fe80::1", Some("p:2")),
        (&without("10.0.0.0/99"), Way::Plain, "10.1.2.3", Some("p:2")),
    ] {
        let proxy = choose(&values(environment), way, host, 4317).unwrap();
        let chosen = proxy.as_ref().map(proxy::Proxy::authority);
        assert_eq!(chosen.as_deref(), expected, "{environment:?} {way:?} {host}");
    }
    for (url, expected) in [
        ("socks5://b", "HTTP_PROXY: socks5:// proxies are not spoken to; http:// and https:// are"),
        ("http://b:port", "HTTP_PROXY: the port is not one"),
        ("http://:1", "HTTP_PROXY: it names no host"),
    ] {
        let chosen = choose(&values(&[("HTTP_PROXY", url)]), Way::Plain, "b", 1);
        assert_eq!(chosen.unwrap_err(), expected);
    }
    let secret = choose(&values(&[("HTTP_PROXY", "http://me:s%3acret@b:1")]), Way::Plain, "x", 1);
    let secret = secret.unwrap().unwrap();
    let expected = format!("Basic {}", STANDARD.encode("me:s:cret"));
    assert_eq!(secret.authorization().unwrap(), expected);
    assert!(!format!("{secret:?}").contains(&STANDARD.encode("me:s:cret")));
}

/// A proxy for whoever knows the password: every tunnel leads to `backend`, and what is passed on
/// goes there too. The request lines that it got are kept.
async fn proxy(backend: SocketAddr) -> (u16, Arc<Mutex<Vec<String>>>, JoinSet<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let (port, serving) = port(move |stream| {
        let lines = Arc::clone(&kept);
        async move {
            let mut stream = BufReader::new(stream);
            let (mut line, mut head) = (String::new(), String::new());
            stream.read_line(&mut line).await.unwrap();
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).await.unwrap() > 2 {}
            lines.lock().unwrap().push(line.trim().to_owned());
            let known = format!("Basic {}", STANDARD.encode("me:s3cret"));
            if !head.to_lowercase().contains(&known.to_lowercase()) {
                let refusal =
                    "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                drop(stream.write_all(refusal.as_bytes()).await);
                return;
            }
            let mut onward = TcpStream::connect(backend).await.unwrap();
            if line.starts_with("CONNECT") {
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            } else {
                onward.write_all(format!("{line}{head}").as_bytes()).await.unwrap();
            }
            drop(copy_bidirectional(&mut stream, &mut onward).await);
            drop(stream.read(&mut [0]).await);
        }
    })
    .await;
    (port, lines, serving)
}

#[tokio::test]
async fn requests_go_through_the_proxy() {
    for (endpoint, variable, line) in [
        ("b.example:4317", "HTTPS_PROXY", "CONNECT b.example:4317 HTTP/1.1"),
        (
            "http://b.example:4318/x",
            "HTTP_PROXY",
            "POST http://b.example:4318/x/v1/traces HTTP/1.1",
        ),
    ] {
        let backend = Backend::start(None).await;
        let (port, lines, mut serving) = proxy(backend.address).await;
        let spec = json!({"endpoint": endpoint, "compression": "none"});
        let url = format!("http://me:s3cret@127.0.0.1:{port}");
        let good = exporter_in(&spec, &[(variable, &url)]);
        assert_eq!(good.send(&payload()).await, delivered());
        assert_eq!(*lines.lock().unwrap(), [line]);
        assert_eq!(backend.seen()[0].body, payload().requests.concat());

        let bad = exporter_in(&spec, &[(variable, &format!("http://127.0.0.1:{port}"))]);
        let words = words(bad.send(&payload()).await, port);
        let expected = if endpoint.starts_with("http") {
            "unauthorized: 407 Proxy Authentication Required (give the proxy's user and password in \
             its URL)"
        } else {
            "unauthorized: 127.0.0.1:PORT, the proxy in HTTPS_PROXY: the proxy answered 407 (give \
             the proxy's user and password in its URL: `http://user:password@host:port`)"
        };
        assert_eq!(words, expected);
        serving.shutdown().await;
        backend.stop().await;
    }
}
