//! Where a pipeline runs, and what it says.

use serde::Deserialize;
use serde_json::Value;
use ursa_pipeline::{Audit, PipelineStatus};

/// One pipeline's status, as the control plane lists it: `{"proxy", "status", "envoy"}` or `{"proxy", "error"}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Place {
    /// The proxy, or the address that was asked.
    #[serde(alias = "from")]
    pub(crate) proxy: String,
    pub(crate) status: Option<PipelineStatus>,
    pub(crate) envoy: Option<Envoy>,
    /// Why it says nothing.
    pub(crate) error: Option<String>,
}

/// What Envoy counts itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Envoy {
    /// Spans that it handed over, counted before it knows that they arrived.
    pub(crate) spans_sent: Option<u64>,
}

/// What one pipeline remembers of a trace: `{"proxy", "audit"}` or `{"proxy", "error"}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Audited {
    /// The proxy, or the address that was asked.
    #[serde(alias = "from")]
    pub(crate) proxy: String,
    pub(crate) audit: Option<Audit>,
    /// Why it says nothing.
    pub(crate) error: Option<String>,
}

impl Place {
    /// A list of places; what cannot be understood of one is its error.
    pub(crate) fn list(answers: &[Value]) -> Vec<Self> {
        let unclear = |answer: &Value, error: String| Self {
            proxy: name(answer),
            error: Some(error),
            ..Self::default()
        };
        let read = |answer: &Value| Self::deserialize(answer).map_err(|error| error.to_string());
        answers.iter().map(|answer| read(answer).unwrap_or_else(|e| unclear(answer, e))).collect()
    }
}

impl Audited {
    /// A list of places; what cannot be understood of one is its error.
    pub(crate) fn list(answers: &[Value]) -> Vec<Self> {
        let unclear = |answer: &Value, error: String| Self {
            proxy: name(answer),
            audit: None,
            error: Some(error),
        };
        let read = |answer: &Value| Self::deserialize(answer).map_err(|error| error.to_string());
        answers.iter().map(|answer| read(answer).unwrap_or_else(|e| unclear(answer, e))).collect()
    }
}

fn name(answer: &Value) -> String {
    let name = answer["proxy"].as_str().or_else(|| answer["from"].as_str());
    name.unwrap_or_default().to_owned()
}
