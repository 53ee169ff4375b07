//! What a pipeline is told to do with the telemetry it receives.
//!
//! It travels as JSON between versions of the control plane and of the agent, so fields that are not known are ignored.

mod exporter;
pub mod metrics;
pub mod processor;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use exporter::{
    ConsoleExporter, DatadogExporter, ExporterSpec, FileExporter, JsonLines, TcpExporter,
    ZipkinExporter,
};
pub use metrics::Collection;
pub use processor::Processor;

/// The whole task of one pipeline.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineConfig {
    /// What `{{…}}` may refer to: `mesh`, `zone`, `name`, `kuma.io/service`, tags, labels.
    pub facts: BTreeMap<String, String>,
    /// Resource attributes that the control plane knows, for example `service.name`.
    pub resource: BTreeMap<String, String>,
    /// What happens to spans.
    pub traces: SignalConfig,
    /// What happens to metric data points.
    pub metrics: SignalConfig,
    /// What happens to log records.
    pub logs: SignalConfig,
    /// What happens to log records that come by a name of their own, instead: each of Envoy's access loggers calls the agent by the name of its
    /// channel (the authority of the call). Backends of the same name are one.
    pub channels: BTreeMap<String, Channel>,
    /// What metrics the agent gathers itself. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<Collection>,
    /// By what the durations of requests are told apart that the agent makes of spans, where it gathers metrics. Empty: it makes none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub span_labels: Vec<metrics::SpanLabel>,
}

/// What happens to log records that come by a name of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Channel {
    /// What happens to them, as to those of a signal.
    #[serde(flatten)]
    pub signal: SignalConfig,
    /// What Envoy's access logger, which knows texts only, means by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogRecords>,
}

/// How log records of Envoy's access logger become what they mean.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogRecords {
    /// Attributes that are whole numbers.
    pub integers: BTreeSet<String>,
    /// Attributes that are left out where Envoy has no value for them, and says `-`.
    pub optional: BTreeSet<String>,
    /// Attributes that are values of W3C Baggage, percent-encoded as Envoy has them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub encoded: BTreeSet<String>,
}

impl AccessLogRecords {
    /// The attribute by which an access logger says the status and the response flags, with a space between. It becomes the record's severity, and is
    /// taken off.
    pub const OUTCOME: &str = "ursa.outcome";
}

/// What happens to one signal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignalConfig {
    /// Where it goes; each backend receives all of it.
    pub backends: Vec<Backend>,
    /// Resource attributes as the policies say, for every backend; they win over a backend's own. Values may hold `{{…}}`.
    pub resource_attributes: BTreeMap<String, String>,
    /// What changes it, in order, after the resource attributes were put on.
    pub processors: Vec<Processor>,
}

/// One backend under the name it has in metrics, logs and status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Unique: the resource's key, or `inline of MeshTrace default/all`.
    pub name: String,
    /// Where and how to deliver.
    pub spec: ExporterSpec,
    /// Resource attributes of what goes to this backend. Values may hold `{{…}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource_attributes: BTreeMap<String, String>,
}

impl Backend {
    /// A backend without resource attributes of its own.
    pub fn new(name: impl Into<String>, spec: impl Into<ExporterSpec>) -> Self {
        Self { name: name.into(), spec: spec.into(), resource_attributes: BTreeMap::new() }
    }
}

impl PipelineConfig {
    /// The signals' parts: traces, metrics, logs.
    pub fn signals(&self) -> [&SignalConfig; 3] {
        [&self.traces, &self.metrics, &self.logs]
    }

    /// Whether the channel of that name is one of metrics; the others are of log records.
    pub fn is_of_metrics(&self, channel: &str) -> bool {
        self.collection.as_ref().is_some_and(|it| it.pushes_to(channel))
    }

    /// The Secret resources that the backends' headers and credentials name.
    pub fn secret_names(&self) -> BTreeSet<String> {
        let channels = self.channels.values().map(|channel| &channel.signal);
        let signals = self.signals().into_iter().chain(channels);
        signals
            .flat_map(|signal| &signal.backends)
            .flat_map(|backend| backend.spec.secret_names())
            .collect()
    }
}
