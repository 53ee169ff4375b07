use serde::{Deserialize, Serialize};

/// What a pipeline remembers of one trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// How far back it remembers anything.
    pub window: AuditWindow,
    /// In the order in which they were received. Empty: no span of this trace was received within
    /// the window.
    pub spans: Vec<AuditedSpan>,
}

/// How far back a pipeline remembers spans.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditWindow {
    /// Spans that it remembers.
    pub spans: usize,
    /// Spans that it can remember.
    pub capacity: usize,
    /// Age in seconds of the oldest of them.
    pub seconds: f64,
}

/// What became of one span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedSpan {
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The receiver.
    pub source: String,
    /// RFC 3339.
    pub received_at: String,
    /// In the order of its way.
    pub stages: Vec<Stage>,
}

/// What one stage did with a span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Where on its way.
    pub stage: AuditStage,
    /// What was done.
    pub verdict: AuditVerdict,
    /// The rule of a processor, or the reason of a loss as it stands in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The backend, from the queue on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// More, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Stages of a span's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditStage {
    /// A receiver took it.
    Receive,
    /// Processors.
    Process,
    /// A backend's queue.
    Queue,
    /// A backend.
    Deliver,
}

/// What a stage did with a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditVerdict {
    /// Passed on.
    Kept,
    /// Taken out or lost; `rule` says why.
    Dropped,
    /// In the queue, or being sent.
    Waiting,
    /// The backend acknowledged the batch that held it.
    Delivered,
    /// The backend acknowledged the batch that held it but for some of its spans, and does not say
    /// which.
    PartlyRejected,
    /// It is longer ago than outcomes are remembered.
    Forgotten,
}
