use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;
use ursa_otlp::wire::Checked;

use crate::{Form, Signal};

/// Where receivers put what they received.
#[async_trait]
pub trait Sink: Debug + Send + Sync + 'static {
    /// Whether requests of this signal are wanted at all. Default: traces are.
    fn takes(&self, signal: Signal) -> bool {
        signal == Signal::Traces
    }

    /// Stores one request. `Ok` means stored: the sender is told so and forgets it.
    ///
    /// # Errors
    /// The whole request was refused and nothing of it kept.
    async fn accept(&self, received: Received) -> Result<(), Refusal>;

    /// When more of this signal comes than goes on: what senders wait for, a moment at most, before
    /// they are answered, so that they are no faster than what is behind the sink. Default: nothing.
    fn pace(&self, _signal: Signal) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

/// One request as a receiver took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it holds.
    pub signal: Signal,
    /// How it is written.
    pub form: Form,
    /// In OTLP an export request (`ExportTraceServiceRequest` or its kin) that has passed
    /// [`wire::check`](ursa_otlp::wire::check).
    pub request: Bytes,
    /// How many spans, data points or log records it holds; it may hold none.
    pub items: usize,
    /// What the check of an OTLP request found; nothing if it is not known.
    pub found: Checked,
    /// The receiver's name, for example `otlp_grpc`.
    pub source: Arc<str>,
    /// By which name the sender called (the authority of a gRPC call), of log records and metrics: what happens to these may depend on it.
    pub channel: Option<Arc<str>>,
}

impl Received {
    /// An OTLP request.
    pub fn otlp(signal: Signal, request: Bytes, items: usize, source: &Arc<str>) -> Self {
        let source = Arc::clone(source);
        let found = Checked::default();
        Self { signal, form: Form::Otlp, request, items, found, source, channel: None }
    }
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No room. HTTP 429, gRPC RESOURCE_EXHAUSTED; the sender may try again.
    #[error("no room for more; try again later")]
    Full {
        /// How long the sender should wait.
        retry_after: Duration,
    },
    /// Not now: starting, or about to stop. HTTP 503, gRPC UNAVAILABLE; the sender may try again.
    #[error("not ready; try again later")]
    Unavailable {
        /// How long the sender should wait.
        retry_after: Duration,
    },
    /// Larger than could ever be stored. HTTP 413, gRPC RESOURCE_EXHAUSTED without `RetryInfo`; the
    /// sender should send less at once.
    #[error("the request is larger than {limit} bytes, all that the queue can hold")]
    TooLarge {
        /// What could be stored at most.
        limit: usize,
    },
    /// The request is wrong and will stay so. HTTP 400, gRPC INVALID_ARGUMENT.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The signal is not taken. HTTP 404, gRPC UNIMPLEMENTED.
    #[error("{signal} are not received here")]
    Unsupported {
        /// The signal of the request.
        signal: Signal,
    },
}
