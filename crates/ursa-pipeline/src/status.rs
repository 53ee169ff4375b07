//! What a pipeline shows of itself. It holds no secret.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Signal;

/// A pipeline as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// Whether it was told what to do; until then it takes nothing.
    pub configured: bool,
    /// By name. A removed backend is there until what waits for it is sent or given up.
    pub backends: Vec<BackendStatus>,
    /// What could not be done as the configuration says.
    pub warnings: Vec<String>,
}

/// One backend and signal as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it is sent.
    pub signal: Signal,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// `host:port`, and the path for HTTP.
    pub endpoint: String,
    /// How it does.
    pub state: BackendState,
    /// No longer in the configuration; what waits is still sent.
    pub removed: bool,
    /// Spans, data points or log records that wait, those in flight included.
    pub waiting_items: usize,
    /// Bytes that wait.
    pub waiting_bytes: usize,
    /// Bytes that may wait.
    pub capacity_bytes: usize,
    /// Age in seconds of what has waited longest.
    pub oldest_seconds: f64,
    /// Items taken for this backend since the start; enqueued = sent + dropped + waiting.
    pub enqueued_items: u64,
    /// Items that the backend acknowledged.
    pub sent_items: u64,
    /// Items lost for good, by reason: `queue_full`, `expired`, `retry_exhausted`, `rejected`.
    pub dropped_items: BTreeMap<&'static str, u64>,
    /// The last failure, until the next success.
    pub last_error: Option<String>,
}

/// How a backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// Nothing was sent yet.
    Idle,
    /// The last request succeeded.
    Up,
    /// The last request failed.
    Down,
    /// Nothing can be sent until something here is mended; `last_error` says what.
    Blocked,
}
