//! Sends OTLP traces as fast as they are taken, or takes them.
//!
//! `load sink 127.0.0.1:14318` takes OTLP/gRPC until its input ends and counts.
//! `load grpc|http 127.0.0.1:14317 SPANS_A_REQUEST SPANS_IN_ALL CONNECTIONS REQUESTS_AT_ONCE` sends
//! prebuilt requests, each connection with so many at once, and prints rate and CPU time.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Protocol, Settings};
use ursa_pipeline::{Received, Refusal, Signal, Sink};

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["sink", listen] => sink(listen.parse()?).await,
        [protocol @ ("grpc" | "http"), address, spans, all, connections, at_once] => {
            let load = Load {
                grpc: protocol == "grpc",
                address: address.to_owned(),
                message: request(spans.parse()?),
                requests: all.parse::<usize>()? / spans.parse::<usize>()?,
                connections: connections.parse()?,
                at_once: at_once.parse()?,
            };
            let start = Instant::now();
            Arc::new(load).run().await?;
            let rate = all.parse::<f64>()? / start.elapsed().as_secs_f64();
            println!("{rate:.0} spans/s; CPU {} ms", cpu()?);
            Ok(())
        }
        _ => {
            Err("usage: load sink LISTEN | load grpc|http ADDRESS SPANS ALL CONNECTIONS AT_ONCE"
                .into())
        }
    }
}

fn cpu() -> Result<u64, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks: u64 = stat.split(' ').skip(13).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    Ok(ticks * 10)
}

#[derive(Debug, Default)]
struct Count(AtomicUsize);

#[async_trait]
impl Sink for Count {
    fn takes(&self, _: Signal) -> bool {
        true
    }

    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        self.0.fetch_add(received.items, Ordering::Relaxed);
        Ok(())
    }
}

async fn sink(listen: std::net::SocketAddr) -> Result<(), Failed> {
    let count = Arc::new(Count::default());
    let receiver = Settings::new(Protocol::OtlpGrpc, Bind::Tcp(listen));
    let receiver = receiver.start(Arc::clone(&count) as Arc<dyn Sink>, &Registry::new(&[])).await?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    receiver.shutdown(Duration::from_secs(1)).await;
    println!("took {} spans; CPU {} ms", count.0.load(Ordering::Relaxed), cpu()?);
    Ok(())
}

/// What is sent, and how.
#[derive(Debug)]
struct Load {
    grpc: bool,
    address: String,
    message: Bytes,
    requests: usize,
    connections: usize,
    at_once: usize,
}

impl Load {
    async fn run(self: Arc<Self>) -> Result<(), Failed> {
        let left = Arc::new(AtomicUsize::new(self.requests));
        let mut senders = JoinSet::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            let io = TokioIo::new(stream);
            if self.grpc {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                senders.spawn(async move { Ok(connection.await?) });
                for _ in 0..self.at_once {
                    let (load, left, mut sender) =
                        (Arc::clone(&self), Arc::clone(&left), sender.clone());
                    senders.spawn(async move {
                        while next(&left) {
                            sender.ready().await?;
                            load.check(sender.send_request(load.request()?).await?).await?;
                        }
                        Ok(())
                    });
                }
            } else {
                let (mut sender, connection) = http1::handshake(io).await?;
                senders.spawn(async move { Ok(connection.await?) });
                let (load, left) = (Arc::clone(&self), Arc::clone(&left));
                senders.spawn(async move {
                    while next(&left) {
                        sender.ready().await?;
                        load.check(sender.send_request(load.request()?).await?).await?;
                    }
                    Ok(())
                });
            }
        }
        while let Some(done) = senders.join_next().await {
            let done: Result<(), Failed> = done?;
            done?;
        }
        Ok(())
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failed> {
        let (path, media) = if self.grpc {
            (Signal::Traces.grpc_path(), "application/grpc")
        } else {
            (Signal::Traces.http_path(), "application/x-protobuf")
        };
        let uri =
            if self.grpc { format!("http://{}{path}", self.address) } else { path.to_owned() };
        let body = if self.grpc { frame(&self.message)? } else { self.message.clone() };
        let request =
            Request::post(uri).header("host", &self.address).header("content-type", media);
        Ok(request.header("user-agent", "load").header("te", "trailers").body(Full::new(body))?)
    }

    async fn check(&self, response: http::Response<hyper::body::Incoming>) -> Result<(), Failed> {
        let (head, body) = response.into_parts();
        let trailers = body.collect().await?.trailers().cloned().unwrap_or_default();
        let status = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
        if !head.status.is_success() || status.is_some_and(|status| status != "0") {
            return Err(format!("{} {status:?}", head.status).into());
        }
        Ok(())
    }
}

fn next(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

fn frame(message: &[u8]) -> Result<Bytes, Failed> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    Ok([&[0], &length[..], message].concat().into())
}

/// A request of spans with 16 attributes each, about 540 bytes a span.
fn request(spans: usize) -> Bytes {
    let attribute = |key: String, value: String| KeyValue {
        key,
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    let span = |number: usize| Span {
        trace_id: (number as u128 + 1).to_be_bytes().to_vec(),
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: "GET /orders".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_000_100_000,
        attributes: (0..16)
            .map(|at| attribute(format!("attribute.{at:02}"), format!("value-{at:05}")))
            .collect(),
        ..Span::default()
    };
    let scope_spans =
        vec![ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() }];
    let resource = Resource {
        attributes: vec![attribute("service.name".to_owned(), "load".to_owned())],
        ..Resource::default()
    };
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}
