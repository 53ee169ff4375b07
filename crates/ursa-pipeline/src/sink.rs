use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::Signal;

/// Where receivers put what they received.
#[async_trait]
pub trait Sink: Debug + Send + Sync + 'static {
    /// Whether requests of this signal are wanted at all. Default: traces are.
    fn takes(&self, signal: Signal) -> bool {
        signal == Signal::Traces
    }

    /// Stores one export request (`ExportTraceServiceRequest` or its kin) in protobuf.
    ///
    /// `request` has passed [`wire::check`](crate::wire::check), which counted `items` spans, data
    /// points or log records; it may hold none. `Ok` means stored: the sender is told so and
    /// forgets it.
    ///
    /// # Errors
    /// The whole request was refused and nothing of it kept.
    async fn accept(&self, signal: Signal, request: Bytes, items: usize) -> Result<(), Refusal>;
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
