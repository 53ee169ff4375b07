//! Exporters: OTLP over gRPC and over HTTP, Zipkin, Datadog's agent, files, the
//! console, and lines over TCP.
//!
//! An [`Exporter`] makes one attempt to deliver one payload and says what came of it; who calls it
//! decides about time and repetition. Several attempts may be under way: over HTTP/2 they share one
//! connection, over HTTP/1 each has its own of a few that are kept.
//!
//! Followed: OTLP 1.10, "OTLP/gRPC Response", "OTLP/HTTP Response", with their rules for what may
//! be sent again; gRPC over HTTP/2.
//!
//! Not here: queues; what telemetry holds.

mod answer;
mod body;
mod client;
mod connection;
mod console;
mod credentials;
mod datadog;
mod dial;
mod environment;
mod file;
mod gathered;
mod grpc;
mod http;
mod lines;
mod native;
mod otlp;
mod payload;
mod pool;
pub mod probe;
mod proxy;
mod retry;
mod sniff;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
mod trouble;
mod way;
mod zipkin;

use std::sync::Arc;

use tokio_util::task::TaskTracker;
use ursa_model::mesh_trace_backend::ZipkinApi;
use ursa_model::pipeline::ExporterSpec;
use ursa_otlp::datadog::Services;
use ursa_otlp::zipkin::TraceIds;

use crate::{Form, Signal};
use client::Client;
use console::Console;
use file::FileExporter;
use tcp::TcpSink;
use way::{Speech, Way};

pub(crate) use answer::{Again, Failure, Outcome, Reason};
pub(crate) use credentials::Values;
pub(crate) use dial::{Dial, Tcp};
pub(crate) use payload::Payload;
pub(crate) use retry::{Backoff, BreakerPolicy};

/// What an exporter has from its process.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    /// Values that stand in specifications by name, and the environment.
    pub(crate) values: Values,
    /// How connections are made.
    pub(crate) dial: Arc<dyn Dial>,
    /// Tasks of connections.
    pub(crate) tasks: TaskTracker,
}

/// Delivers one signal to one backend. Shared by `Arc`; several sends may be under way.
#[derive(Debug)]
pub(crate) struct Exporter {
    kind: Kind,
    backoff: Backoff,
    breaker: BreakerPolicy,
}

#[derive(Debug)]
enum Kind {
    /// A backend behind a network, or why nothing may be sent there.
    Remote(Speech, Result<Box<Way>, String>),
    File(FileExporter),
    Console(Console),
    Tcp(TcpSink),
}

impl Exporter {
    /// An exporter of `signal` for `spec`. It never fails: what is wrong blocks its sends. Values
    /// that stand in the specification by name are looked up when they are needed.
    pub(crate) fn new(spec: &ExporterSpec, signal: Signal, outlet: Outlet) -> Self {
        let mut options = spec.delivery().cloned().unwrap_or_default();
        let kind = match spec {
            ExporterSpec::OpenTelemetry(spec) => {
                let (speech, way) = match environment::apply(spec, signal, &outlet.values) {
                    Ok(effective) => {
                        options = effective.spec.delivery.clone();
                        otlp::open(&effective, signal, outlet)
                    }
                    Err(reason) => (Speech::Grpc, Err(reason)),
                };
                Kind::remote(speech, way)
            }
            ExporterSpec::File(spec) => Kind::File(FileExporter::new(spec, signal)),
            ExporterSpec::Console(spec) => Kind::Console(Console::new(spec)),
            ExporterSpec::Tcp(spec) => Kind::Tcp(TcpSink::new(spec, outlet.dial)),
            ExporterSpec::Zipkin(spec) => {
                let proto = spec.api_version == Some(ZipkinApi::HttpProto);
                let ids = TraceIds::of_128_bits(spec.trace_id_128bit != Some(false));
                Kind::remote(Speech::Zipkin { proto, ids }, zipkin::open(spec, signal, outlet))
            }
            ExporterSpec::Datadog(spec) => {
                let services = Services::split(spec.split_service == Some(true));
                Kind::remote(Speech::Datadog { services }, datadog::open(spec, signal, outlet))
            }
            _ => {
                let reason = "this version knows no such exporter".to_owned();
                Kind::remote(Speech::Grpc, Err(reason))
            }
        };
        let (backoff, breaker) = (Backoff::of(&options), BreakerPolicy::of(&options));
        Self { kind, backoff, breaker }
    }

    /// `grpc`, `http`, `zipkin`, `datadog`, `file`, `console` or `tcp`: the value of the label `protocol`.
    pub(crate) fn protocol(&self) -> &'static str {
        match &self.kind {
            Kind::Remote(speech, _) => speech.name(),
            Kind::File(_) => "file",
            Kind::Console(_) => "console",
            Kind::Tcp(_) => "tcp",
        }
    }

    /// Where it delivers, for people: `host:port` and path, or a file.
    pub(crate) fn endpoint(&self) -> String {
        match &self.kind {
            // A URL that is none may hold anything, so it is not shown.
            Kind::Remote(_, way) => {
                way.as_ref().map_or_else(|_| String::new(), |way| way.endpoint.clone())
            }
            Kind::File(file) => file.path().display().to_string(),
            Kind::Console(_) => "stdout".to_owned(),
            Kind::Tcp(sink) => sink.address().to_owned(),
        }
    }

    /// When to try again.
    pub(crate) fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// When to leave the backend alone.
    pub(crate) fn breaker(&self) -> BreakerPolicy {
        self.breaker
    }

    /// Whether payloads may have that form; every exporter takes OTLP.
    pub(crate) fn takes(&self, form: Form) -> bool {
        match &self.kind {
            // What is sent as it came keeps its ids.
            Kind::Remote(Speech::Zipkin { ids: TraceIds::Whole, .. }, _) => {
                matches!(form, Form::Otlp | Form::Zipkin)
            }
            Kind::Remote(Speech::Datadog { .. }, _) => matches!(form, Form::Otlp | Form::Datadog),
            _ => form == Form::Otlp,
        }
    }

    /// What an operator should know though telemetry flows: certificates are not verified, or old
    /// ones stay in force because the new cannot be used.
    pub(crate) async fn warning(&self) -> Option<String> {
        self.client()?.ok()?.warning().await
    }

    /// How a backend behind a network is reached, or why nothing is sent there.
    fn client(&self) -> Option<Result<&Client, &str>> {
        match &self.kind {
            Kind::Remote(_, Ok(way)) => Some(Ok(&way.client)),
            Kind::Remote(_, Err(reason)) => Some(Err(reason)),
            Kind::File(_) | Kind::Console(_) | Kind::Tcp(_) => None,
        }
    }

    /// Makes one attempt. What it reports holds no secret.
    pub(crate) async fn send(&self, payload: &Payload) -> Outcome {
        match &self.kind {
            Kind::Remote(_, Err(reason)) => Outcome::Blocked(reason.clone()),
            Kind::Remote(Speech::Grpc, Ok(way)) => otlp::send_by_grpc(way, payload).await,
            Kind::Remote(Speech::Http, Ok(way)) => otlp::send_by_http(way, payload).await,
            Kind::Remote(Speech::Zipkin { proto, ids }, Ok(way)) => {
                zipkin::send(way, *proto, *ids, payload).await
            }
            Kind::Remote(Speech::Datadog { services }, Ok(way)) => {
                datadog::send(way, *services, payload).await
            }
            Kind::File(file) => file.send(payload).await,
            Kind::Console(console) => console.send(payload).await,
            Kind::Tcp(sink) => sink.send(payload).await,
        }
    }
}

impl Kind {
    fn remote(speech: Speech, way: Result<Way, String>) -> Self {
        Self::Remote(speech, way.map(Box::new))
    }
}
