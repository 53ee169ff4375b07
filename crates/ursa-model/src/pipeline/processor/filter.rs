//! Which items are dropped.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SignalName;
use crate::duration::Duration;

/// What a compiled regular expression may take.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// Drops what is not wanted. What it dropped is counted, and shown by `ursa telemetry audit`, under
/// its name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Its name: the label `rule` of metrics.
    pub name: String,
    /// Which signals it acts on. Default: all that its conditions can speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<Vec<SignalName>>,
    /// What meets any of these is dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<Condition>,
    /// What meets none of these is dropped. Either `drop` or `keep` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<Condition>,
}

/// A condition on one span, data point or log record. All that is set must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// The span's name. Traces only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_name: Option<TextMatch>,
    /// The span's kind. Traces only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKind>,
    /// The span's status. Traces only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SpanStatus>,
    /// The span took less than this. Traces only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shorter_than: Option<Duration>,
    /// The span took this long or longer. Traces only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Duration>,
    /// The metric's name. Metrics only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name: Option<TextMatch>,
    /// The record's severity is below this; a record without one is below all. Logs only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity_below: Option<Severity>,
    /// Attributes of the span, data point or log record.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributeMatch>,
    /// Attributes of the resource.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_attributes: BTreeMap<String, AttributeMatch>,
}

/// What a text must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// Equal to this.
    Exact(String),
    /// Begins with this.
    Prefix(String),
    /// A regular expression finds something in it. Use `^` and `$` for the whole text.
    Regex(String),
}

/// What an attribute must be. Numbers and booleans are compared as text: `200`, `1.5`, `true`.
/// Lists and maps match `present` only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AttributeMatch {
    /// Equal to this.
    Exact(String),
    /// Begins with this.
    Prefix(String),
    /// A regular expression finds something in it. Use `^` and `$` for the whole text.
    Regex(String),
    /// There (true) or not there (false).
    Present(bool),
}

/// A span's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SpanKind {
    /// Within a process.
    Internal,
    /// An incoming call.
    Server,
    /// An outgoing call.
    Client,
    /// A message sent.
    Producer,
    /// A message received.
    Consumer,
}

/// A span's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SpanStatus {
    /// Nothing said.
    Unset,
    /// Said to be well.
    Ok,
    /// Failed.
    Error,
}

/// A log record's severity: the first of its four levels.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// From 1.
    Trace,
    /// From 5.
    Debug,
    /// From 9.
    Info,
    /// From 13.
    Warn,
    /// From 17.
    Error,
    /// From 21.
    Fatal,
}

impl Severity {
    /// The lowest `severity_number` of it.
    pub const fn number(self) -> i32 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

impl SpanKind {
    /// Its number in OTLP.
    pub const fn number(self) -> i32 {
        match self {
            Self::Internal => 1,
            Self::Server => 2,
            Self::Client => 3,
            Self::Producer => 4,
            Self::Consumer => 5,
        }
    }
}

impl SpanStatus {
    /// Its number in OTLP.
    pub const fn number(self) -> i32 {
        match self {
            Self::Unset => 0,
            Self::Ok => 1,
            Self::Error => 2,
        }
    }
}

impl Condition {
    /// Whether anything is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can hold for anything of that signal.
    pub fn speaks_of(&self, signal: SignalName) -> bool {
        let of_spans = self.span_name.is_some()
            || self.kind.is_some()
            || self.status.is_some()
            || self.shorter_than.is_some()
            || self.at_least.is_some();
        (!of_spans || signal == SignalName::Traces)
            && (self.metric_name.is_none() || signal == SignalName::Metrics)
            && (self.severity_below.is_none() || signal == SignalName::Logs)
    }
}

impl Filter {
    /// Its conditions, of `drop` or of `keep`.
    pub fn conditions(&self) -> &[Condition] {
        if self.keep.is_empty() { &self.drop } else { &self.keep }
    }

    /// Whether it acts on that signal.
    pub fn acts_on(&self, signal: SignalName) -> bool {
        match &self.signals {
            Some(signals) => signals.contains(&signal),
            None => self.conditions().iter().any(|condition| condition.speaks_of(signal)),
        }
    }
}
