use bytes::Bytes;

use crate::{Form, Signal};

/// What one attempt delivers. The bytes are shared with the queue and sent as they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) signal: Signal,
    /// Of all requests.
    pub(crate) form: Form,
    /// In order; none is empty. Concatenated, OTLP requests are one request.
    pub(crate) requests: Vec<Bytes>,
    /// Spans, data points or log records in all.
    pub(crate) items: usize,
    /// Length of all requests.
    pub(crate) bytes: usize,
}
