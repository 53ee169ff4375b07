//! A running Envoy: spans arrive soon and whole, and routes alone switch them off.

use std::fmt::Write as _;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use ursa_envoy::proxy::{Direction, ProxyConfig, RouteTracing, Sampling, TagSource};
use ursa_envoy::resources::{RDS, resources};

use crate::agent::Agent;
use crate::{peers, proxies};

/// Within which whatever is waited for has to happen.
const DEADLINE: Duration = Duration::from_secs(30);
/// How many requests are traced before tracing is switched off.
const TRACED: usize = 100;
/// Within which a span has to be with the agent, and the last one after a change.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
#[expect(clippy::print_stderr, reason = "the delays are what one wants to see of this test")]
async fn routes_switch_tracing_on_kept_alive_connections() {
    for envoy in peers::envoys() {
        let figures = tracing_follows_routes(&envoy).await;
        eprintln!("{}: {figures:?}", envoy.display());
        assert!(figures.span < SOON, "{figures:?}");
        assert!(figures.acknowledged < SOON, "{figures:?}");
        assert!(figures.last_traced < SOON, "{figures:?}");
        assert!(figures.last_seen < SOON, "{figures:?}");
    }
}

/// How long things took.
#[derive(Debug, Default)]
struct Figures {
    /// From a request to its span at the agent.
    span: Duration,
    /// From changed routes to Envoy's word that it has them.
    acknowledged: Duration,
    /// From changed routes to the start of the last request that still was traced.
    last_traced: Duration,
    /// From changed routes to the arrival of the last span.
    last_seen: Duration,
}

async fn tracing_follows_routes(envoy: &Path) -> Figures {
    let mut figures = Figures::default();
    let mut application = JoinSet::new();
    let proxy = one_inbound(serve(&mut application).await);
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(folder.path(), resources(&traced(&proxy, "before")));
    let _envoy = peers::run(envoy, folder.path(), &peers::bootstrap_in(folder.path()));
    let mut client = BufReader::new(within(connect(&folder.path().join("admin.sock"))).await);

    let asked = Instant::now();
    let traceparent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    get(&mut client, "/first", traceparent).await;
    let (seen, service, first) = within(next_span(&mut agent)).await.remove(0);
    figures.span = seen - asked;
    assert_eq!(service, "frontend");
    assert_eq!(first.kind(), SpanKind::Server);
    assert_eq!(hex(&first.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&first.parent_span_id), "b7ad6b7169203331");
    assert_eq!(text(&first.attributes, "phase"), Some("before"));
    assert_eq!(text(&first.attributes, "env"), Some("prod"));
    assert_eq!(text(&first.attributes, "tenant"), None);
    assert_eq!(text(&first.attributes, "host"), Some("shop"));
    assert!(text(&first.attributes, "http.url").is_some_and(|url| url.ends_with("/first")));

    // Off, by the routes alone, under steady load.
    while agent.answers.try_recv().is_ok() {}
    let mut pace = interval(Duration::from_millis(2));
    let mut started = Vec::new();
    let mut changed = None;
    while changed.is_none_or(|changed: Instant| changed.elapsed() < SOON) {
        pace.tick().await;
        if started.len() == TRACED {
            let off = proxies::with_tracing(proxy.clone(), &RouteTracing::off());
            agent.resources.send(resources(&off)).unwrap();
            changed = Some(Instant::now());
        }
        started.push(Instant::now());
        get(&mut client, &format!("/{}", started.len() - 1), "").await;
        if let Ok(answer) = agent.answers.try_recv() {
            assert_eq!(answer, (RDS.to_owned(), None), "only routes were sent");
            figures.acknowledged = changed.unwrap().elapsed();
        }
    }
    let changed = changed.unwrap();
    assert!(figures.acknowledged > Duration::ZERO, "Envoy said nothing to the routes");

    // On again: spans come in order, so none of the silence can still follow.
    agent.resources.send(resources(&traced(&proxy, "after"))).unwrap();
    let mut traced = 0;
    let after = async {
        loop {
            pace.tick().await;
            get(&mut client, "/on", "").await;
            while let Ok((seen, export)) = agent.exports.try_recv() {
                for (_, span) in spans(export) {
                    if text(&span.attributes, "phase") == Some("after") {
                        return;
                    }
                    let url = text(&span.attributes, "http.url").unwrap();
                    let number: usize = url.rsplit('/').next().unwrap().parse().unwrap();
                    traced += 1;
                    figures.last_traced = started[number].saturating_duration_since(changed);
                    figures.last_seen = seen - changed;
                }
            }
        }
    };
    within(after).await;
    assert!(traced >= TRACED, "only {traced} of the first {TRACED} requests were traced");
    figures
}

pub(crate) fn one_inbound(application: u16) -> ProxyConfig {
    proxies::proxy(
        vec![proxies::http(Direction::Inbound, 0, "application")],
        vec![proxies::local("application", application)],
    )
}

fn traced(proxy: &ProxyConfig, phase: &str) -> ProxyConfig {
    let header = |name: &str, default: Option<&str>| TagSource::Header {
        name: name.to_owned(),
        default: default.map(str::to_owned),
    };
    let tags = vec![
        proxies::tag("phase", TagSource::Literal(phase.to_owned())),
        proxies::tag("env", header("x-env", Some("prod"))),
        proxies::tag("tenant", header("x-tenant", None)),
        proxies::tag("host", header(":authority", None)),
    ];
    proxies::with_tracing(proxy.clone(), &RouteTracing { sampling: Sampling::ALL, tags })
}

/// An application that answers everything with 200. Its port.
pub(crate) async fn serve(tasks: &mut JoinSet<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut connection = BufReader::new(connection);
                while !read_head(&mut connection).await.is_empty() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if connection.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

pub(crate) async fn get(connection: &mut BufReader<TcpStream>, path: &str, headers: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop\r\n{headers}\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(connection).await;
    assert!(head.starts_with("HTTP/1.1 200"), "the request for {path} was dropped: {head:?}");
}

/// Everything up to the empty line; empty at the end of the connection.
async fn read_head(connection: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(connection.read_line(&mut head).await, Ok(1..)) {
            return String::new();
        }
    }
    head
}

/// Connects to Envoy's only listener as soon as it serves; `admin` knows its port.
pub(crate) async fn connect(admin: &Path) -> TcpStream {
    let mut pace = interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        let Some(port) = listener_port(admin).await else { continue };
        if let Ok(connection) = TcpStream::connect(("127.0.0.1", port)).await {
            return connection;
        }
    }
}

async fn listener_port(admin: &Path) -> Option<u16> {
    let mut admin = UnixStream::connect(admin).await.ok()?;
    let request = "GET /listeners?format=json HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    admin.write_all(request.as_bytes()).await.ok()?;
    admin.read_to_string(&mut answer).await.ok()?;
    let (_, port) = answer.split_once("\"port_value\":")?;
    let digits: String = port.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The spans of the next export, each with its arrival and service.
async fn next_span(agent: &mut Agent) -> Vec<(Instant, String, Span)> {
    let (seen, export) = agent.exports.recv().await.unwrap();
    spans(export).into_iter().map(|(service, span)| (seen, service, span)).collect()
}

fn spans(
    export: opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest,
) -> Vec<(String, Span)> {
    let mut spans = Vec::new();
    for of_resource in export.resource_spans {
        let resource = of_resource.resource.unwrap_or_default().attributes;
        let service = text(&resource, "service.name").unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push((service.to_owned(), span));
        }
    }
    spans
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text grows");
        text
    })
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("in time")
}
