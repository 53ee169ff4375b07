//! Where telemetry leaves a pipeline.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{DeliveryOptions, OpenTelemetryBackend};
use crate::mesh_trace_backend::ZipkinApi;
use crate::size::ByteSize;

/// A kind of exporter with its settings; written as one field named after the kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ExporterSpec {
    /// OTLP over gRPC or HTTP.
    OpenTelemetry(Box<OpenTelemetryBackend>),
    /// A Zipkin collector. Traces only.
    Zipkin(Box<ZipkinExporter>),
    /// A Datadog agent's trace API. Traces only.
    Datadog(Box<DatadogExporter>),
    /// A sink that takes lines over TCP. Logs only.
    #[schemars(skip)]
    Tcp(Box<TcpExporter>),
    /// A file with one export request in OTLP/JSON on each line.
    File(FileExporter),
    /// Standard output, for people.
    Console(ConsoleExporter),
}

/// A Zipkin collector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZipkinExporter {
    /// Where it takes spans, for example `http://zipkin:9411/api/v2/spans`.
    pub url: String,
    /// Default `httpJson`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<ZipkinApi>,
    /// Whether trace ids keep their 128 bits; else the lower 64 of them are sent. Default true.
    #[serde(default, rename = "traceId128bit", skip_serializing_if = "Option::is_none")]
    pub trace_id_128bit: Option<bool>,
    /// How it is delivered.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

/// A Datadog agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatadogExporter {
    /// `http://host:port` of the agent's trace API.
    pub url: String,
    /// Whether spans of an Envoy's server side become the service `S_INBOUND`, and those of its client
    /// side `S_OUTBOUND_` with the destination. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_service: Option<bool>,
    /// How it is delivered.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

/// A sink that takes lines over TCP: the bodies of log records.
///
/// Each batch has a connection of its own, which the exporter ends and whose end by the sink it waits for: only so does TCP tell what was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpExporter {
    /// `host:port`.
    pub address: String,
    /// Lines of JSON from bodies that are maps. Unset: bodies are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonLines>,
    /// How it is delivered. Headers, credentials, compression and TLS have no effect.
    #[serde(flatten)]
    pub delivery: DeliveryOptions,
}

/// How a map of texts becomes a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JsonLines {
    /// Entries that are whole numbers.
    pub integers: BTreeSet<String>,
    /// Entries without a value where they say `-`.
    pub optional: BTreeSet<String>,
    /// Whether entries without a value are left out, rather than null.
    pub omit_empty: bool,
}

/// A file in OTLP's file format that is put aside when it is full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileExporter {
    /// The file's absolute path.
    pub path: String,
    /// At what size it is put aside as `path.1`. Default 100 Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<ByteSize>,
    /// How many files are kept beside the one that is written. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u32>,
}

/// Standard output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleExporter {
    /// OTLP/JSON, a line for each request, instead of text for people. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub json: bool,
}

impl FileExporter {
    /// At what size it is put aside.
    pub fn max_size(&self) -> ByteSize {
        self.max_size.unwrap_or(ByteSize::mebibytes(100))
    }

    /// How many files are kept beside the one that is written.
    pub fn max_files(&self) -> u32 {
        self.max_files.unwrap_or(5)
    }
}

impl ExporterSpec {
    /// How it is delivered; none for what is local.
    pub fn delivery(&self) -> Option<&DeliveryOptions> {
        match self {
            Self::OpenTelemetry(spec) => Some(&spec.delivery),
            Self::Zipkin(spec) => Some(&spec.delivery),
            Self::Datadog(spec) => Some(&spec.delivery),
            Self::Tcp(spec) => Some(&spec.delivery),
            Self::File(_) | Self::Console(_) => None,
        }
    }

    /// The Secret resources that headers and credentials name.
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.delivery().map(DeliveryOptions::secret_names).unwrap_or_default()
    }
}

impl From<OpenTelemetryBackend> for ExporterSpec {
    fn from(backend: OpenTelemetryBackend) -> Self {
        Self::OpenTelemetry(Box::new(backend))
    }
}
