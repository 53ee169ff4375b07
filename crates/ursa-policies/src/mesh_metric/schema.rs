//! What users write in the `default` of a MeshMetric.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_model::duration::Duration;
use ursa_model::mesh_trace_backend::InlineOpenTelemetry;
use ursa_model::pipeline::metrics::{
    HistogramForm, Matcher, MetricNames, Profile, PrometheusTls, Temporality,
};

/// What is measured, and who gets to know it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// What is kept of Envoy's metrics.
    pub sidecar: Sidecar,
    /// Applications beside the proxy that are asked for metrics. All that they say is kept.
    pub applications: Option<Vec<Application>>,
    /// Who gets to know the metrics; several at once. None: nothing is gathered. Also written `backend: {…}`.
    pub backends: Option<Vec<Backend>>,
    /// Attributes of the resource that metrics come from; they win over those of the backend. Prometheus has them as labels of `target_info`. Values
    /// may hold `{{…}}`.
    pub resource_attributes: BTreeMap<String, String>,
    /// How many series a family may have.
    pub cardinality: Cardinality,
}

/// What is kept of Envoy's metrics.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-accepts-fields" = {
    "regex": {"description": "As `profiles.exclude` of type Regex.", "type": "string"},
    "usedOnly": {"description": "The opposite of `includeUnused`.", "type": "boolean"},
}))]
pub struct Sidecar {
    /// Which families.
    pub profiles: Profiles,
    /// Whether series are kept that never were anything but 0. Those that dashboards and alerts read are kept in any case. Unset: false.
    pub include_unused: Option<bool>,
}

/// Which families of Envoy's metrics are kept. `include` wins over `exclude`, both over the profiles.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Profiles {
    /// Lists of families; of several the broadest counts. Unset: Basic.
    pub append_profiles: Option<Vec<NamedProfile>>,
    /// What is left out although a profile has it.
    pub exclude: Option<Vec<Matcher>>,
    /// What is kept although no profile has it, or `exclude` says otherwise.
    pub include: Option<Vec<Matcher>>,
}

/// A list of families.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedProfile {
    /// Which.
    pub name: Profile,
}

/// An application's endpoint with metrics: Prometheus' text, OpenMetrics, or Prometheus' protocol buffers, over HTTP.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// What it is called: the label `application` of its series. Unset: no such label.
    pub name: Option<String>,
    /// Default `/metrics`.
    pub path: Option<String>,
    /// IP address or DNS name. Unset: where the inbound that leads to that port finds the application, or else the address of the proxy.
    pub address: Option<String>,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

impl Application {
    /// The path that is asked for.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/metrics")
    }
}

/// Somebody who gets to know the metrics: exactly one of `prometheus`, `openTelemetry`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["prometheus", "openTelemetry", "reference"]))]
#[schemars(extend("x-accepts-fields" = {"reference": {"$ref": "#/$defs/BackendRef"}}))]
pub struct Backend {
    /// Which form is set. May be left out.
    #[serde(rename = "type")]
    pub kind: Option<BackendType>,
    /// A Prometheus that asks the agent.
    pub prometheus: Option<Prometheus>,
    /// An OTLP backend, inline or by reference, that the agent sends to.
    pub open_telemetry: Option<OpenTelemetryMetrics>,
    /// What is kept of Envoy's metrics for this backend. What is unset here is as in the policy's `sidecar`.
    #[serde(default)]
    pub sidecar: Sidecar,
}

/// The forms of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BackendType {
    /// `prometheus`.
    Prometheus,
    /// `openTelemetry`.
    OpenTelemetry,
}

impl BackendType {
    /// The field that holds the form.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::OpenTelemetry => "openTelemetry",
        }
    }
}

/// A Prometheus that asks the agent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Prometheus {
    /// Which Prometheus is meant, where several discover proxies by the control plane (`client_id` of `kuma_sd_configs`). Unset: every other.
    pub client_id: Option<String>,
    /// Default 5670.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Default `/metrics`.
    pub path: Option<String>,
    /// How it is protected.
    pub tls: Tls,
    /// How Envoy's families are called: as on every path (counters end in `_total`), or as Envoy and Kuma write them. Unset: Suffixed.
    pub names: Option<MetricNames>,
}

/// How the endpoint for Prometheus is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Unset: Disabled.
    pub mode: Option<PrometheusTls>,
}

/// An OTLP backend for metrics.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenTelemetryMetrics {
    /// How long from one sending to the next. Default 1m.
    pub refresh_interval: Option<Duration>,
    /// What a counter's value counts from. Unset: Cumulative.
    pub temporality: Option<Temporality>,
    /// How Envoy's histograms are told. Unset: Explicit.
    pub histograms: Option<HistogramForm>,
    /// The backend, or a reference to one.
    #[serde(flatten)]
    pub backend: InlineOpenTelemetry,
}

/// How many series a family may have.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Cardinality {
    /// How many series of one family of one proxy leave. Default 2000.
    #[schemars(range(min = 1))]
    pub limit: Option<u32>,
    /// What happens to the others. Unset: aggregate.
    pub overflow: Option<Overflow>,
}

/// What happens to series beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Overflow {
    /// They are added up in one more, which has the label `otel_metric_overflow="true"`.
    Aggregate,
}
