//! What an agent gathers metrics from, and where they leave it.
//!
//! Names and labels are in their final form on every way out: `[a-z0-9_]`, counters end in `_total`, identity is a label of each series. What an
//! application writes keeps its own names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Authority;

/// What an agent does to gather metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Collection {
    /// Labels on every series of Envoy, of applications and of the agent, under their final names: `mesh`, `zone`, `dataplane`, `kuma_io_service` …
    pub labels: BTreeMap<String, String>,
    /// Resource attributes as the policies say; values may hold `{{…}}`. A scrape shows them as labels of `target_info`; a push has them by its
    /// channel.
    pub resource_attributes: BTreeMap<String, String>,
    /// What Envoy's clusters stand for, by the name under which it counts them (`envoy_cluster_name`).
    pub clusters: BTreeMap<String, Entity>,
    /// What Envoy's listeners stand for, by the names under which it counts them: of the listener (`envoy_listener_address`), of its connection
    /// manager (`envoy_http_conn_manager_prefix`) and of its TCP proxy (`envoy_tcp_prefix`).
    pub listeners: BTreeMap<String, Entity>,
    /// Applications that are scraped.
    pub applications: Vec<Application>,
    /// Where metrics leave. Names are unique.
    pub outputs: Vec<MetricOutput>,
}

impl Collection {
    /// Whether the channel of that name is one of metrics.
    pub fn pushes_to(&self, channel: &str) -> bool {
        let is_push = |output: &MetricOutput| matches!(output.to, MetricDestination::Push(_));
        self.outputs.iter().any(|output| output.name == channel && is_push(output))
    }
}

/// A label that the durations of requests have from spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpanLabel {
    /// Its name, in its final form.
    pub name: String,
    /// How many values it has at most, beside `other`, which all further ones become.
    pub limit: u32,
    /// From where its value is.
    pub from: SpanLabelSource,
}

/// From where a label of spans has its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpanLabelSource {
    /// It is always this.
    Literal(String),
    /// An attribute of the span, as Envoy writes it.
    Attribute(String),
    /// A member of W3C Baggage, whose header Envoy records.
    #[serde(rename_all = "camelCase")]
    Baggage {
        /// The attribute that holds the header.
        from: String,
        /// The member's key.
        member: String,
        /// The value of a span without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
}

/// What one of Envoy's listeners or clusters stands for: labels of its series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entity {
    /// Label `direction`.
    pub direction: TrafficDirection,
    /// Label `destination`: the service that an outbound leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
}

/// Which way traffic goes, seen from the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrafficDirection {
    /// To the workload.
    Inbound,
    /// From the workload.
    Outbound,
    /// Between Envoy and its agent.
    System,
}

impl TrafficDirection {
    /// The value of the label `direction`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::System => "system",
        }
    }
}

/// An application's endpoint with metrics, over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// Label `application` of its series. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// IP address or DNS name.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// The path, with its query if it has one.
    pub path: String,
}

impl Application {
    /// By what it is called where its failures are told: its name, or where it is.
    pub fn label(&self) -> String {
        let place =
            || format!("{}{}", Authority { host: &self.address, port: self.port }, self.path);
        self.name.clone().unwrap_or_else(place)
    }
}

/// How Envoy's families are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum MetricNames {
    /// As on every path: counters end in `_total`.
    #[default]
    Suffixed,
    /// As Envoy and Kuma 2.x write them: counters without a suffix. `kuma_io_zone` stands beside `zone`.
    Envoy,
}

/// A way out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricOutput {
    /// Unique among the outputs; what metrics, logs and status call it. Of a push also the key of the channel
    /// ([`PipelineConfig::channels`](super::PipelineConfig::channels)) that its requests go to.
    pub name: String,
    /// Which of Envoy's families leave by it.
    #[serde(default)]
    pub selection: Selection,
    /// How many series a family may have there.
    #[serde(default)]
    pub cardinality: Cardinality,
    /// The way.
    pub to: MetricDestination,
}

/// The way of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricDestination {
    /// The agent answers Prometheus.
    Prometheus(PrometheusEndpoint),
    /// The agent sends OTLP.
    Push(Push),
}

impl MetricDestination {
    /// How it is pushed; the default where it is not.
    pub fn push(&self) -> Push {
        match self {
            Self::Push(push) => *push,
            Self::Prometheus(_) => Push::default(),
        }
    }
}

/// Where Prometheus asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusEndpoint {
    /// The address to listen on. Unset: all of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The port. Outputs may share one, with another path each.
    pub port: u16,
    /// The path; every other is answered with 404.
    pub path: String,
    /// How it is protected. Outputs that share a port share this.
    #[serde(default)]
    pub tls: PrometheusTls,
    /// How Envoy's families are called there.
    #[serde(default)]
    pub names: MetricNames,
    /// Which Prometheus may be told of it by discovery (MADS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// How the endpoint for Prometheus is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PrometheusTls {
    /// Plain HTTP.
    #[default]
    Disabled,
    /// HTTPS with the certificate and the key that the agent was given (`KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH` and `…_KEY_PATH`).
    #[serde(rename = "ProvidedTLS")]
    ProvidedTls,
    /// HTTPS with the mesh's own certificates.
    #[serde(rename = "ActiveMTLSBackend")]
    ActiveMtlsBackend,
}

/// How OTLP is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Push {
    /// Milliseconds from one to the next.
    pub interval_ms: u64,
    /// What a counter's value counts from.
    pub temporality: Temporality,
    /// How histograms are told.
    pub histograms: HistogramForm,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            interval_ms: 60_000,
            temporality: Temporality::default(),
            histograms: HistogramForm::default(),
        }
    }
}

impl Push {
    /// Whether Envoy has to tell its native histograms for it.
    pub fn is_native(&self) -> bool {
        self.histograms == HistogramForm::Exponential
    }
}

/// What a counter's value counts from. OTLP: `aggregation_temporality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Temporality {
    /// From the start of what counts; what Prometheus wants.
    #[default]
    Cumulative,
    /// From the request before.
    Delta,
}

/// How histograms of Envoy are told. Those of applications keep their form: native ones become exponential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum HistogramForm {
    /// With the bounds that the bootstrap gave Envoy.
    #[default]
    Explicit,
    /// With exponential buckets, of Envoy's native histograms.
    Exponential,
}

/// Which of Envoy's families leave. A name matches as Envoy writes it (`envoy_cluster_upstream_rq`) or in its final form
/// (`envoy_cluster_upstream_rq_code_total`). `include` wins over `exclude`, both over the profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selection {
    /// The beginning.
    pub profile: Profile,
    /// What leaves although the profile or `exclude` says otherwise.
    pub include: Vec<Matcher>,
    /// What does not leave although the profile says otherwise.
    pub exclude: Vec<Matcher>,
    /// Whether series leave that never were anything but 0. Those that dashboards and alerts read always do.
    pub include_unused: bool,
}

/// A list of families that belong together.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
pub enum Profile {
    /// None.
    None,
    /// What the dashboards, the alerts and Kuma's own dashboards read, and without series of what is between Envoy and its agent (direction
    /// `system`).
    #[default]
    Basic,
    /// All that Envoy counts.
    All,
}

/// Families by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    /// How names are compared.
    #[serde(rename = "type")]
    pub kind: MatcherKind,
    /// With what.
    #[serde(rename = "match")]
    pub text: String,
}

/// How the names of families are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MatcherKind {
    /// The name begins so.
    Prefix,
    /// An expression (RE2) finds something in the name; `^` and `$` bind it.
    Regex,
    /// The name is this.
    Exact,
    /// This is somewhere in the name.
    Contains,
}

/// How many series a family may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cardinality {
    /// How many series of one family and one proxy leave; what is over is added up in one more, with the label `otel_metric_overflow="true"`
    /// (OTLP: `otel.metric.overflow`).
    pub limit: u32,
}

impl Default for Cardinality {
    fn default() -> Self {
        Self { limit: 2_000 }
    }
}
