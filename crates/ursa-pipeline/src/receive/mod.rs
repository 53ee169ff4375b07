//! OTLP receivers over gRPC and HTTP, on TCP or a Unix socket.
//!
//! A request is read within [`Limits`], checked by [`wire::check`](ursa_otlp::wire::check) and given
//! to a [`Sink`]; it is acknowledged when the sink stored it. In protobuf, bytes of texts that are not
//! UTF-8 become `?`, rather than cost the request's other items. Every way to refuse is an answer that
//! OTLP knows: push-back carries `Retry-After` or `RetryInfo`.
//!
//! Followed: OTLP 1.10, "OTLP/gRPC" and "OTLP/HTTP"; gRPC over HTTP/2.
//!
//! Not here: TLS, what happens to the telemetry.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod body;
mod grpc;
mod http;
mod intake;
mod listener;
mod memory;
mod problem;
mod reply;
mod server;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ursa_metrics::Registry;

use crate::Sink;

pub use server::Receiver;

/// Where a receiver listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode 0600. A file that is there already is replaced.
    Unix(PathBuf),
}

/// What one receiver admits. Beyond it, senders are told or, if they are slow, cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request, after decompression. Default 4 MiB, as other servers have it.
    pub message: usize,
    /// Bytes of all requests that are being read or handled. Default 64 MiB; beyond it, requests
    /// are pushed back.
    pub memory: usize,
    /// Connections. Default 1024; more wait to be accepted.
    pub connections: usize,
    /// HTTP/2 requests at once on one connection. Default 64.
    pub streams: u32,
    /// Bytes of a request's header fields. Default 16 KiB.
    pub headers: u32,
    /// How long a request's header, and after it its body, may take to arrive. Default 20 s.
    pub read: Duration,
    /// How long a connection may stay without a request. Default 5 min.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 4 << 20,
            memory: 64 << 20,
            connections: 1024,
            streams: 64,
            headers: 16 << 10,
            read: Duration::from_secs(20),
            idle: Duration::from_mins(5),
        }
    }
}

/// The OTLP/gRPC receiver: traces, metrics and logs services, identity and gzip.
#[derive(Debug, Clone)]
pub struct OtlpGrpc {
    /// Where it listens.
    pub bind: Bind,
    /// What it admits.
    pub limits: Limits,
}

/// The OTLP/HTTP receiver: `/v1/traces`, `/v1/metrics`, `/v1/logs`; protobuf and JSON, identity
/// and gzip; HTTP/1.1 and HTTP/2 without TLS.
#[derive(Debug, Clone)]
pub struct OtlpHttp {
    /// Where it listens.
    pub bind: Bind,
    /// What it admits.
    pub limits: Limits,
}

/// A receiver could not listen.
#[derive(Debug, Error)]
#[error("listen on {at}")]
pub struct BindError {
    /// The address or path.
    pub at: String,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

impl OtlpGrpc {
    /// With the default limits.
    pub fn new(bind: Bind) -> Self {
        Self { bind, limits: Limits::default() }
    }

    /// Listens. Counts into `registry` under the receiver name `otlp_grpc`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(
        self,
        sink: Arc<dyn Sink>,
        registry: &Registry,
    ) -> Result<Receiver, BindError> {
        let intake = intake::Intake::new(sink, registry, "otlp_grpc", self.limits.clone());
        server::start(self.bind, self.limits, true, grpc::Grpc::new(intake)).await
    }
}

impl OtlpHttp {
    /// With the default limits.
    pub fn new(bind: Bind) -> Self {
        Self { bind, limits: Limits::default() }
    }

    /// Listens. Counts into `registry` under the receiver name `otlp_http`.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(
        self,
        sink: Arc<dyn Sink>,
        registry: &Registry,
    ) -> Result<Receiver, BindError> {
        let intake = intake::Intake::new(sink, registry, "otlp_http", self.limits.clone());
        server::start(self.bind, self.limits, false, http::Http::new(intake)).await
    }
}
