//! The receivers' APIs: what is taken, how it is kept, what is refused.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ursa_metrics::Registry;
use ursa_otlp::{datadog, zipkin};
use ursa_pipeline::receive::{Protocol, Receiver, Settings};
use ursa_pipeline::{Form, Received, Refusal, Sink};

use crate::{Answer, Shelf, ask, local};

const ZIPKIN: &str =
    r#"[{"traceId":"000000000000000a","id":"000000000000000b","tags":{"k":"v"},"kept":1}]"#;
const DATADOG: &str = r#"[[{"trace_id":1,"span_id":2,"service":"s","kept":1}],[{"trace_id":3,"span_id":4},{"trace_id":3,"span_id":5}]]"#;
const MSGPACK: &str = "application/msgpack";
const JSON: &str = "application/json";
const PROTO: &str = "application/x-protobuf";

/// A receiver and its sink.
struct Rig {
    shelf: Arc<Shelf>,
    receiver: Receiver,
}

/// Header fields.
type Fields<'a> = &'a [(&'a str, &'a str)];

impl Rig {
    async fn start(protocol: Protocol, shelf: Shelf) -> Self {
        let shelf = Arc::new(shelf);
        let sink = Arc::clone(&shelf) as Arc<dyn Sink>;
        let settings = Settings::new(protocol, local());
        Self { shelf, receiver: settings.start(sink, &Registry::new(&[])).await.unwrap() }
    }

    async fn send(&self, method: &str, path: &str, headers: Fields<'_>, body: &[u8]) -> Answer {
        ask(self.receiver.address().unwrap(), method, path, headers, body).await.unwrap()
    }

    /// What was kept since the last look.
    fn kept(&self) -> Vec<Received> {
        std::mem::take(&mut *self.shelf.kept.lock().unwrap())
    }

    async fn stop(self) {
        self.receiver.shutdown(Duration::from_secs(5)).await;
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn refusing() -> Shelf {
    let refusal = Refusal::Full { retry_after: Duration::from_millis(1500) };
    Shelf { refusal: Some(refusal), ..Shelf::default() }
}

#[tokio::test]
async fn zipkin_in_every_dialect_becomes_one() {
    let rig = Rig::start(Protocol::Zipkin, Shelf::default()).await;
    let v1 = br#"[{"traceId":"a","id":"b","annotations":[{"timestamp":1,"value":"sr","endpoint":{"serviceName":"s"}}]}]"#;
    let proto = zipkin::to_proto(ZIPKIN.as_bytes()).unwrap();
    let json = ("content-type", "application/json; charset=utf-8");
    let sent: &[(&str, Fields<'_>, &[u8])] = &[
        ("/api/v2/spans", &[json], ZIPKIN.as_bytes()),
        ("/api/v2/spans", &[], ZIPKIN.as_bytes()),
        ("/api/v2/spans", &[json, ("content-encoding", "gzip")], &gzip(ZIPKIN.as_bytes())),
        ("/api/v2/spans", &[("content-type", PROTO)], &proto),
        ("/api/v1/spans", &[json], v1),
        ("/api/v2/spans", &[json], b"[]"),
        ("/api/v2/spans", &[json], b"[{\"traceId\":\"a\",\"id\":\"b\",\"name\":\"\xff\"}]"),
    ];
    let mut kept = Vec::new();
    for (path, headers, body) in sent {
        let answer = rig.send("POST", path, headers, body).await;
        assert_eq!(answer, (202, String::new(), String::new()), "{path} {headers:?}");
        let received = rig.kept().remove(0);
        assert_eq!((received.form, &*received.source), (Form::Zipkin, "zipkin"));
        assert_eq!(zipkin::check(&received.request).unwrap(), received.items);
        kept.push(String::from_utf8(received.request.to_vec()).unwrap());
    }
    // What came in the form in which it is kept is not touched.
    assert_eq!(kept[..3], [ZIPKIN; 3]);
    assert_eq!(kept[3], ZIPKIN.replace(r#","kept":1"#, ""));
    assert!(kept[4].contains(r#""kind":"SERVER""#) && kept[4].contains(r#""shared":true"#));
    assert_eq!(kept[5], "[]");
    assert!(kept[6].contains('\u{fffd}'));
    rig.stop().await;
}

#[tokio::test]
async fn zipkin_is_refused_in_words() {
    let rig = Rig::start(Protocol::Zipkin, Shelf::default()).await;
    let thrift = &[("content-type", "application/x-thrift")][..];
    let json = &[("content-type", JSON)][..];
    let (v1, v2) = ("/api/v1/spans", "/api/v2/spans");
    for (method, path, headers, body, status, words) in [
        (
            "POST",
            v1,
            thrift,
            ZIPKIN,
            415,
            "\"application/x-thrift\" is not understood; use application/json",
        ),
        ("POST", v1, &[("content-type", PROTO)][..], ZIPKIN, 415, "use application/json"),
        ("POST", v2, thrift, ZIPKIN, 415, "use application/json or application/x-protobuf"),
        ("POST", v2, &[("content-encoding", "br")][..], ZIPKIN, 415, "br"),
        ("POST", v2, json, "{}", 400, "not a JSON list of spans"),
        ("POST", v2, json, r#"[{"traceId":"a"}]"#, 400, "span 0 is not valid: missing field `id`"),
        ("POST", v2, &[("content-type", PROTO)][..], "x", 400, "protobuf"),
        ("GET", v2, json, "", 405, "POST"),
        ("POST", "/api/v3/spans", json, ZIPKIN, 404, "/api/v3/spans"),
    ] {
        let (got, _, said) = rig.send(method, path, headers, body.as_bytes()).await;
        assert_eq!(got, status, "{method} {path}: {said}");
        assert!(said.contains(words), "{said}");
    }
    assert!(rig.kept().is_empty());
    rig.stop().await;
    let full = Rig::start(Protocol::Zipkin, refusing()).await;
    let (status, after, _) = full.send("POST", v2, json, ZIPKIN.as_bytes()).await;
    assert_eq!((status, &*after), (429, "2"));
    full.stop().await;
}

/// The same traces in v0.5.
fn v05() -> Vec<u8> {
    let span = |trace: u8, id: u8, service: u8| {
        [&[0x9c, service, 0, 0, trace, id, 0, 0, 0, 0, 0x80, 0x80, 0][..]].concat()
    };
    [
        vec![0x92, 0x92, 0xa0, 0xa1, b's', 0x92, 0x91],
        span(1, 2, 1),
        vec![0x92],
        span(3, 4, 0),
        span(3, 5, 0),
    ]
    .concat()
}

#[tokio::test]
async fn datadog_in_every_version_becomes_one() {
    let rig = Rig::start(Protocol::Datadog, Shelf::default()).await;
    let message = datadog::from_json(DATADOG.as_bytes()).unwrap();
    let msgpack = ("content-type", MSGPACK);
    let rates = r#"{"rate_by_service":{"service:,env:":1}}"#;
    let sent: &[(&str, &str, Fields<'_>, &[u8], &str)] = &[
        ("PUT", "/v0.4/traces", &[msgpack, ("x-datadog-trace-count", "2")], &message, rates),
        ("POST", "/v0.4/traces/", &[msgpack, ("content-encoding", "gzip")], &gzip(&message), rates),
        ("POST", "/v0.4/traces", &[("content-type", JSON)], DATADOG.as_bytes(), rates),
        ("POST", "/v0.4/traces", &[], DATADOG.as_bytes(), rates),
        ("PUT", "/v0.3/traces", &[msgpack], &message, "OK\n"),
        ("PUT", "/v0.5/traces", &[msgpack], &v05(), rates),
    ];
    for (method, path, headers, body, expected) in sent {
        let (status, _, said) = rig.send(method, path, headers, body).await;
        assert_eq!((status, &*said), (200, *expected), "{path} {headers:?}");
        let received = rig.kept().remove(0);
        assert_eq!((received.form, &*received.source), (Form::Datadog, "datadog"));
        let count = datadog::Count { traces: 2, spans: 3 };
        assert_eq!((datadog::check(&received.request).unwrap(), received.items), (count, 3));
        if *path != "/v0.5/traces" {
            assert_eq!(received.request, message, "{path} {headers:?}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_datadogs_tracers_ask_besides_is_answered() {
    let rig = Rig::start(Protocol::Datadog, Shelf::default()).await;
    let msgpack = &[("content-type", MSGPACK)][..];
    let v04 = "/v0.4/traces";
    for (method, path, headers, body, status, words) in [
        (
            "GET",
            "/info",
            &[][..],
            "",
            200,
            r#""endpoints":["/v0.3/traces","/v0.4/traces","/v0.5/traces"]"#,
        ),
        ("POST", "/telemetry/proxy/api/v2/apmtelemetry", &[][..], "{}", 202, "{}"),
        ("POST", "/v0.7/config", &[][..], "{}", 404, "/v0.7/config"),
        ("PUT", "/v0.6/stats", msgpack, "", 404, "/v0.6/stats"),
        ("PUT", v04, msgpack, "", 400, "cut off"),
        ("PUT", v04, msgpack, "\u{90}", 400, "must be a list"),
        (
            "PUT",
            v04,
            &[("content-type", "text/plain")][..],
            "[]",
            415,
            "use application/msgpack or application/json",
        ),
        ("PUT", "/v0.5/traces", msgpack, "x", 400, "must be a list"),
        ("GET", v04, msgpack, "", 405, "GET"),
    ] {
        let (got, _, said) = rig.send(method, path, headers, body.as_bytes()).await;
        assert_eq!(got, status, "{method} {path}: {said}");
        assert!(said.contains(words), "{said}");
    }
    assert!(rig.kept().is_empty());
    rig.stop().await;
    let full = Rig::start(Protocol::Datadog, refusing()).await;
    let (status, after, _) = full.send("PUT", v04, msgpack, &[0x90]).await;
    assert_eq!((status, &*after), (429, "2"));
    full.stop().await;
}
