//! Exporters against backends on loopback that speak, refuse, hang or speak something else.

mod answers;
mod faults;
mod probes;
mod proxies;
mod secure;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use ursa_model::SecretText;
use ursa_model::pipeline::ExporterSpec;

use super::*;
use crate::tls::ServerTls;

/// An exporter of traces for an OTLP backend.
fn exporter(spec: &serde_json::Value) -> Exporter {
    exporter_in(spec, &[])
}

fn exporter_in(spec: &serde_json::Value, environment: &[(&str, &str)]) -> Exporter {
    let spec = ExporterSpec::OpenTelemetry(serde_json::from_value(spec.clone()).unwrap());
    let outlet =
        Outlet { values: values(environment), dial: Arc::new(Tcp), tasks: TaskTracker::new() };
    Exporter::new(&spec, Signal::Traces, outlet)
}

fn values(environment: &[(&str, &str)]) -> Values {
    let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretText::new(*value));
    Values::new(Arc::new(environment.iter().map(variable).collect()), BTreeMap::new())
}

/// A request with one span.
fn span(name: &str) -> Bytes {
    let spans = vec![Span { name: name.to_owned(), ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

/// A payload of two requests that together are one.
fn payload() -> Payload {
    let requests = ["one", "two"].map(span).to_vec();
    let bytes = requests.iter().map(Bytes::len).sum();
    Payload { signal: Signal::Traces, form: Form::Otlp, requests, items: 2, bytes }
}

fn delivered() -> Outcome {
    Outcome::Delivered { rejected: 0, message: String::new() }
}

/// Reason, message and mend of a failure, or why it was blocked. `port` is shown as `PORT`.
fn words(outcome: Outcome, port: u16) -> String {
    let words = match outcome {
        Outcome::Failed(failure) => format!("{}: {failure}", failure.reason.name()),
        Outcome::Blocked(reason) => format!("blocked: {reason}"),
        Outcome::Delivered { .. } => "delivered".to_owned(),
    };
    words.replace(&port.to_string(), "PORT")
}

/// What a backend got.
#[derive(Debug, Clone)]
struct Seen {
    request: ::http::request::Parts,
    /// Less the prefix of gRPC.
    body: Bytes,
}

/// An OTLP backend that takes everything.
struct Backend {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// How many connections were made.
    connections: Arc<Mutex<usize>>,
    serving: JoinSet<()>,
}

impl Backend {
    async fn start(tls: Option<Arc<ServerTls>>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), tls).await
    }

    async fn start_at(address: SocketAddr, tls: Option<Arc<ServerTls>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let connections = Arc::<Mutex<usize>>::default();
        let (seen_by, connected) = (Arc::clone(&seen), Arc::clone(&connections));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *connected.lock().unwrap() += 1;
                let (seen, tls) = (Arc::clone(&seen_by), tls.clone());
                open.spawn(async move {
                    match tls {
                        None => serve(stream, seen).await,
                        Some(tls) => {
                            let acceptor = TlsAcceptor::from(tls.config().await.unwrap());
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, connections, serving }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends with all connections.
    async fn stop(mut self) {
        self.serving.shutdown().await;
    }
}

async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let service = service_fn(|request: ::http::Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (request, body) = request.into_parts();
            let mut body = body.collect().await.unwrap().to_bytes();
            let grpc = request.headers["content-type"] == "application/grpc";
            let mut response = ::http::Response::new(Full::new(Bytes::new()));
            if grpc {
                body = body.slice(5..);
                *response.body_mut() = Full::new(Bytes::from_static(&[0; 5]));
                response.headers_mut().insert("grpc-status", "0".parse().unwrap());
            }
            let media = if grpc { "application/grpc" } else { "application/x-protobuf" };
            response.headers_mut().insert("content-type", media.parse().unwrap());
            seen.lock().unwrap().push(Seen { request, body });
            Ok::<_, Infallible>(response)
        }
    });
    // Clients that hang up are part of the tests.
    drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}

/// A port where `act` deals with each connection.
async fn port<F>(act: impl Fn(TcpStream) -> F + Send + 'static) -> (u16, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            open.spawn(act(stream));
        }
    });
    (port, serving)
}
