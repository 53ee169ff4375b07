//! Where telemetry goes: one schema for every signal.
//!
//! `MeshOpenTelemetryBackend.spec`, `MeshTraceBackend.spec.openTelemetry` and every inline `openTelemetry:` are [`OpenTelemetryBackend`].
//! How its endpoint and protocol are understood is in `delivery.rs`; what is refused and warned about, in `validate.rs`.

mod delivery;
mod options;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::delivery::{Delivery, EndpointError, Protocol};
pub use self::options::{
    ApiKey, Auth, BasicAuth, CircuitBreaker, Compression, DeliveryOptions, Queue, RetryPolicy, Tls,
    TlsMode,
};
pub use self::validate::validate_attributes;

/// An OTLP backend and how to deliver to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetryBackend {
    /// A URL, `host:port`, or `{address, port, path}`. Unset: the node's own collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// OTLP over gRPC or over HTTP. Unset: HTTP for a URL, else gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<WireProtocol>,
    /// How it is delivered.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
    /// Whether the standard `OTEL_EXPORTER_OTLP_*` variables of the agent count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Env>,
    /// Attributes of every resource sent here; a policy's own win over them. Values may hold `{{…}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_attributes: BTreeMap<String, String>,
}

/// Where a backend listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Endpoint {
    /// `https://api.example.com`, `collector:4317`.
    Text(String),
    /// `{address: collector, port: 4317}`.
    Parts(EndpointParts),
}

/// An endpoint in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointParts {
    /// IP address or DNS name. Unset: the node's own collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Port. Default 4317 for gRPC, 4318 for HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// What precedes `/v1/traces`. HTTP only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WireProtocol {
    /// OTLP/gRPC; TLS when the URL or `tls` says so.
    Grpc,
    /// OTLP/HTTP.
    Http,
    /// OTLP/HTTP over TLS.
    Https,
}

/// How the standard `OTEL_EXPORTER_OTLP_*` variables of the agent count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Env {
    /// Default `Optional`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<EnvMode>,
    /// Default `EnvFirst`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedence: Option<EnvPrecedence>,
    /// Whether variables of one signal win over those of all. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_signal_overrides: Option<bool>,
}

/// Whether the variables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnvMode {
    /// They are not.
    Disabled,
    /// They are where they are set.
    Optional,
    /// They must be set.
    Required,
}

/// Which of two values counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnvPrecedence {
    /// The variable's.
    EnvFirst,
    /// The resource's.
    ExplicitFirst,
}

/// A reference to a backend that is a resource of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["name", "labels"]))]
pub struct BackendRef {
    /// The kind of the resource.
    pub kind: BackendKind,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its labels; of several matches the oldest counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The kinds that a [`BackendRef`] may name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum BackendKind {
    /// An OTLP backend for every signal.
    MeshOpenTelemetryBackend,
    /// A backend for traces.
    MeshTraceBackend,
}

impl BackendKind {
    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeshOpenTelemetryBackend => "MeshOpenTelemetryBackend",
            Self::MeshTraceBackend => "MeshTraceBackend",
        }
    }
}

impl OpenTelemetryBackend {
    /// How to deliver, by the table of endpoint and protocol.
    ///
    /// # Errors
    /// When endpoint, protocol and TLS contradict each other; validation refuses that, so a stored resource resolves.
    pub fn resolve(&self) -> Result<Delivery, EndpointError> {
        delivery::resolve(self)
    }
}
