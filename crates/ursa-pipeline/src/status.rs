//! What a pipeline shows of itself. It holds no secret. It travels as JSON from the agent to the
//! command line, so it is read as well as written, and fields that are not known are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Ledger, Signal};

/// A pipeline as it stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineStatus {
    /// Whether it was told what to do; until then it takes nothing.
    pub configured: bool,
    /// What resources are given before policies and backends say more; what telemetry says itself wins over the detected part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_attributes: BTreeMap<String, String>,
    /// By name, then signal. A removed backend is there until what waits for it is sent or given up.
    pub backends: Vec<BackendStatus>,
    /// Queues on disk that no backend of the configuration owns. They are taken up again when a
    /// backend of that name and signal is configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphaned: Vec<OrphanedQueue>,
    /// What could not be done as the configuration says.
    pub warnings: Vec<String>,
}

/// One backend and signal as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it is sent.
    pub signal: Signal,
    /// `grpc`, `http`, `zipkin`, `datadog`, `file` or `console`.
    pub protocol: String,
    /// Where it delivers to, for people: `host:port` and the path, or a file.
    pub endpoint: String,
    /// How it does.
    pub state: BackendState,
    /// Whether it is left alone for a while.
    #[serde(default)]
    pub breaker: BreakerStatus,
    /// No longer in the configuration; what waits is still sent.
    pub removed: bool,
    /// Spans, data points or log records that wait, those in flight included.
    pub waiting_items: usize,
    /// Items that are being sent at this moment; they are in `waiting_items`, too.
    #[serde(default)]
    pub in_flight_items: usize,
    /// Bytes that wait.
    pub waiting_bytes: usize,
    /// Bytes that may wait.
    pub capacity_bytes: usize,
    /// Age in seconds of what has waited longest.
    pub oldest_seconds: f64,
    /// Where what waits is kept.
    #[serde(default)]
    pub storage: Storage,
    /// The directory of a queue on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_path: Option<String>,
    /// Items put into its queue since the start, those found on disk included;
    /// enqueued = sent + dropped + waiting.
    pub enqueued_items: u64,
    /// Items that the backend acknowledged.
    pub sent_items: u64,
    /// Items lost for good, by reason: `queue_full`, `expired`, `retry_exhausted`, `rejected`,
    /// `disk`.
    pub dropped_items: BTreeMap<String, u64>,
    /// What became of everything that was received for it.
    #[serde(default)]
    pub ledger: Ledger,
    /// The same for each receiver; `queue` is what was found on disk at the start.
    #[serde(default)]
    pub sources: BTreeMap<String, Ledger>,
    /// The last failure, until the next success.
    pub last_error: Option<String>,
}

/// How a backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// Where what waits is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Lost with the process.
    #[default]
    Memory,
    /// There again after a restart.
    Disk,
}

/// A circuit breaker as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerStatus {
    /// Closed: telemetry flows.
    pub state: BreakerState,
    /// Seconds until an open one lets a request through to see whether the backend is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_seconds: Option<f64>,
}

/// The states of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests are made.
    #[default]
    Closed,
    /// The backend failed too often in a row and is left alone.
    Open,
    /// One request is made to see whether the backend is back.
    HalfOpen,
}

/// A queue on disk that no configured backend owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanedQueue {
    /// The name of the backend that it was kept for.
    pub backend: String,
    /// What it holds.
    pub signal: Signal,
    /// Its directory.
    pub path: String,
    /// Bytes that its files take.
    pub bytes: u64,
}
