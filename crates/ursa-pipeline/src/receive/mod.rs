//! Receivers: OTLP over gRPC and HTTP, Zipkin, and Datadog's trace agent API, on TCP or a Unix socket, with TLS and a
//! bearer token if wanted.
//!
//! A request is read within [`Limits`], checked by [`wire::check`](ursa_otlp::wire::check) and given
//! to a [`Sink`]; it is acknowledged when the sink stored it. In protobuf, bytes of texts that are not
//! UTF-8 become `?`, rather than cost the request's other items; spans without valid ids are left out,
//! and the answer says so. Every way to refuse is an answer that OTLP knows: push-back carries
//! `Retry-After` or `RetryInfo`.
//!
//! A protocol is a type that answers requests (`server::Answer`) with what is here for all of them:
//! `intake` (token, memory, counting, the sink), `body` (reading and decompressing within bounds) and
//! `problem` (what can be wrong, as HTTP and as gRPC status). `server` has the connections: TLS,
//! HTTP/1.1 and HTTP/2, their limits (`watch`), and their end.
//!
//! Followed: OTLP 1.10, "OTLP/gRPC" and "OTLP/HTTP" (docs/reference/otlp-conformance.md says how);
//! gRPC over HTTP/2; gRPC health checking; RFC 6750; CORS.
//!
//! Not here: compressed answers, gRPC reflection, what happens to the telemetry.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod body;
mod cors;
mod datadog;
mod envoy;
mod grpc;
mod http;
mod intake;
mod listener;
mod memory;
mod partial;
mod problem;
mod reply;
mod requests;
mod server;
mod token;
mod watch;
mod zipkin;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio_util::task::TaskTracker;
use ursa_metrics::Registry;

use crate::Sink;

pub use crate::tls::{ServerFiles, ServerTls, TlsError};
pub use server::{Bound, Receiver};
pub use token::Token;

/// Where a receiver listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600. A socket that is there already is replaced; another file
    /// is not.
    Unix(PathBuf),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What a receiver understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC: the services of traces, metrics and logs, and `grpc.health.v1.Health/Check`;
    /// identity, gzip and zstd.
    OtlpGrpc,
    /// What one Envoy sends: as [`OtlpGrpc`](Self::OtlpGrpc), and at `/api/v2/spans` spans of its Zipkin tracer in
    /// JSON. These become OTLP, as its OpenTelemetry tracer would have written them.
    Envoy,
    /// OTLP/HTTP: `/v1/traces`, `/v1/metrics`, `/v1/logs`; protobuf and JSON; identity, gzip and
    /// zstd; HTTP/1.1 and HTTP/2.
    OtlpHttp,
    /// Zipkin's `/api/v2/spans` (JSON and protobuf) and `/api/v1/spans` (JSON). Traces only.
    Zipkin,
    /// The trace agent's API of Datadog: `/v0.3/traces`, `/v0.4/traces`, `/v0.5/traces`. Traces only.
    Datadog,
}

impl Protocol {
    /// The name of a receiver that has none of its own: `otlp_grpc` (of an Envoy too), `otlp_http`, `zipkin`, `datadog`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc | Self::Envoy => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::Zipkin => "zipkin",
            Self::Datadog => "datadog",
        }
    }
}

/// What a receiver is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it understands.
    pub protocol: Protocol,
    /// Its name: the source of what it receives, and the label `receiver`. Default
    /// [`Protocol::name`].
    pub name: Arc<str>,
    /// Where it listens.
    pub bind: Bind,
    /// Its certificate; without it, connections are plain. Files that change are read anew. With
    /// `client_ca`, senders must show a certificate of that authority.
    pub tls: Option<ServerFiles>,
    /// What senders must carry as `authorization: Bearer …`. Default: nothing. Health checks need
    /// none.
    pub token: Option<Token>,
    /// Origins (`https://shop.example.com`, or `*` for every one) from which browsers may send by
    /// HTTP. Default: none.
    pub origins: Vec<String>,
    /// What it admits.
    pub limits: Limits,
}

/// What one receiver admits. Beyond it, senders are told or, if they are slow, cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request, after decompression. Default 4 MiB, as other servers have it; for
    /// Datadog 25 MiB, as its agent has it and its tracers expect.
    pub message: usize,
    /// Bytes of all requests that are being read or handled. Default 32 MiB, for Datadog 64 MiB;
    /// beyond it, requests are pushed back.
    pub memory: usize,
    /// Connections. Default 1024; more wait to be accepted.
    pub connections: usize,
    /// HTTP/2 requests at once on one connection. Default 64.
    pub streams: u32,
    /// Bytes of a request's header fields. Default 16 KiB.
    pub headers: u32,
    /// How long each of these may take to arrive: the TLS handshake, then the first request's
    /// header; the body of any request. Default 20 s.
    pub read: Duration,
    /// How long a connection may stay without another request. Default 5 min.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 4 << 20,
            memory: 32 << 20,
            connections: 1024,
            streams: 64,
            headers: 16 << 10,
            read: Duration::from_secs(20),
            idle: Duration::from_mins(5),
        }
    }
}

impl Limits {
    /// The defaults for a protocol.
    pub fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Datadog => Self { message: 25 << 20, memory: 64 << 20, ..Self::default() },
            Protocol::OtlpGrpc | Protocol::Envoy | Protocol::OtlpHttp | Protocol::Zipkin => {
                Self::default()
            }
        }
    }
}

/// A receiver could not listen.
#[derive(Debug, Error)]
#[error("listen on {at}")]
pub struct BindError {
    /// The address or path.
    pub at: String,
    /// What the system says, or what is wrong with the files of TLS.
    #[source]
    pub source: io::Error,
}

impl Settings {
    /// Plain, without a token, with the default name and limits.
    pub fn new(protocol: Protocol, bind: Bind) -> Self {
        Self {
            protocol,
            name: protocol.name().into(),
            bind,
            tls: None,
            token: None,
            origins: Vec::new(),
            limits: Limits::of(protocol),
        }
    }

    /// Listens, and counts into `registry`.
    ///
    /// # Errors
    /// The address cannot be had, or TLS cannot be set up with these files.
    pub async fn start(
        self,
        sink: Arc<dyn Sink>,
        registry: &Registry,
    ) -> Result<Receiver, BindError> {
        Ok(self.bind(sink, registry).await?.serve())
    }

    /// Takes the address, and answers nobody before it is told to.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn bind(self, sink: Arc<dyn Sink>, registry: &Registry) -> Result<Bound, BindError> {
        let Self { protocol, name, bind, tls, token, origins, limits } = self;
        let tasks = TaskTracker::new();
        let door = server::Door { bind, tls, limits: limits.clone(), tasks: tasks.clone() };
        let intake = intake::Intake::new(sink, registry, name, token, limits, tasks);
        match protocol {
            Protocol::OtlpGrpc => server::bind(door, grpc::Grpc::new(intake)).await,
            Protocol::Envoy => server::bind(door, envoy::Envoy::new(intake)).await,
            Protocol::OtlpHttp => server::bind(door, http::Http::new(intake, origins)).await,
            Protocol::Zipkin => server::bind(door, zipkin::Zipkin::new(intake)).await,
            Protocol::Datadog => server::bind(door, datadog::Datadog::new(intake)).await,
        }
    }
}
