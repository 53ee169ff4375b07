//! What users write in the `default` of each part of a MeshAccessLog.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;
use ursa_model::backend::{CircuitBreaker, Queue, RetryPolicy};
use ursa_model::duration::Duration;
use ursa_model::mesh_trace_backend::InlineOpenTelemetry;
use ursa_model::percent::Percent;

use crate::header::HeaderMatch;

/// How requests are written down.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-exactly-one" = ["backends", "backend"]))]
pub struct Conf {
    /// Where requests are written down; required. `[]` switches it off. Also written `backend: {…}`.
    pub backends: Option<Vec<Backend>>,
    /// Attributes of the resource that log records come from; they win over those of the backend. Values may hold `{{…}}`.
    pub resource_attributes: BTreeMap<String, String>,
}

/// A place where requests are written down: exactly one of `file`, `tcp`, `openTelemetry`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["file", "tcp", "openTelemetry", "reference"]))]
#[schemars(extend("x-accepts-fields" = {"reference": {"$ref": "#/$defs/BackendRef"}}))]
pub struct Backend {
    /// Which form is set. May be left out.
    #[serde(rename = "type")]
    pub kind: Option<BackendType>,
    /// A file beside the proxy, written by Envoy.
    pub file: Option<FileBackend>,
    /// A sink that takes lines over TCP.
    pub tcp: Option<TcpBackend>,
    /// An OTLP backend, inline or by reference.
    pub open_telemetry: Option<OpenTelemetryLogs>,
    /// Which requests are written down. Unset: all.
    pub filter: Option<Filter>,
    /// Which share of them. All proxies on a request's way agree. Percent, in steps of 0.01. Unset: 100.
    pub sample: Option<Percent>,
}

/// The forms of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BackendType {
    /// `file`.
    File,
    /// `tcp`.
    Tcp,
    /// `openTelemetry`.
    OpenTelemetry,
}

impl BackendType {
    /// The field that holds the form.
    pub const fn field(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Tcp => "tcp",
            Self::OpenTelemetry => "openTelemetry",
        }
    }
}

/// A file beside the proxy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileBackend {
    /// Absolute path.
    pub path: String,
    /// What a line says. Unset: Kuma's line.
    pub format: Option<Format>,
}

/// A sink that takes lines over TCP. What it does not take waits in the agent's queue.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpBackend {
    /// `host:port`.
    pub address: String,
    /// What a line says. Unset: Kuma's line.
    pub format: Option<Format>,
    /// How long one delivery may take. Default 10 s.
    pub timeout: Option<Duration>,
    /// How failed deliveries are repeated. Default: until the queue's age or size says otherwise.
    pub retry_policy: Option<RetryPolicy>,
    /// When to leave a failing sink alone.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// What waits while the sink is away.
    pub queue: Option<Queue>,
}

/// What a line says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [
    {
        "if": {"properties": {"type": {"const": "Plain"}}},
        "then": {"required": ["plain"], "properties": {"plain": {"type": "string"}}},
    },
    {
        "if": {"properties": {"type": {"const": "Json"}}},
        "then": {"required": ["json"], "properties": {"json": {"type": "array", "minItems": 1}}},
    },
]))]
pub struct Format {
    /// Text or JSON.
    #[serde(rename = "type")]
    pub kind: FormatType,
    /// The line, with `Plain`. It may hold Envoy's command operators and `%KUMA_…%`; a line feed is added.
    pub plain: Option<String>,
    /// The object's entries, with `Json`. A value that is one operator has that operator's type.
    pub json: Option<Vec<Pair>>,
    /// Whether entries without a value are left out rather than null, with `Json`. Unset: false.
    pub omit_empty_values: Option<bool>,
}

/// The forms of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FormatType {
    /// Text.
    Plain,
    /// An object in JSON.
    Json,
}

/// A name and a text that may hold command operators.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// An OTLP backend for log records.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetryLogs {
    /// The record's body: a text, any JSON, or a value as OTLP writes it (`kvlistValue`). Its texts may hold command operators. Unset: Kuma's line.
    #[serde(default)]
    #[schemars(schema_with = "anything")]
    pub body: Option<Json>,
    /// The record's attributes. Unset: those of OpenTelemetry's conventions for HTTP, or for TCP those of the network.
    pub attributes: Option<Vec<Pair>>,
    /// The backend, or a reference to one.
    #[serde(flatten)]
    pub backend: InlineOpenTelemetry,
}

fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({})
}

/// Requests: those for which all that is given holds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// Their status. A request without an answer has status 0.
    pub status: Option<StatusRange>,
    /// How long they took.
    pub duration: Option<DurationRange>,
    /// Envoy's response flags, of which one at least is set: `UF`, `NR`, `DC` … Whatever flags: `[any]`.
    #[schemars(length(min = 1))]
    pub response_flags: Option<Vec<String>>,
    /// A header that they have, or lack.
    pub header: Option<HeaderMatch>,
    /// An expression in CEL, over Envoy's attributes, that is true: `response.code >= 500 || request.path.startsWith("/pay")`.
    pub expression: Option<String>,
}

/// Statuses, both ends among them.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["from", "to"]))]
pub struct StatusRange {
    /// The lowest. Unset: 0.
    pub from: Option<u16>,
    /// The highest. Unset: 599.
    pub to: Option<u16>,
}

/// Lengths of time, to the millisecond.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["atLeast", "shorterThan"]))]
pub struct DurationRange {
    /// As long or longer.
    pub at_least: Option<Duration>,
    /// Shorter.
    pub shorter_than: Option<Duration>,
}
