//! Where telemetry goes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::OpenTelemetryBackend;
use crate::pipeline::processor::SignalName;
use crate::pipeline::{
    ConsoleExporter, DatadogExporter, ExporterSpec, FileExporter, ZipkinExporter,
};

/// One exporter; exactly one of its kinds is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exporter {
    /// What routes, metrics, status and logs call it; its queue lies under this name. Default: its kind, such as `openTelemetry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// OTLP over gRPC or HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetryBackend>,
    /// A Zipkin collector. Traces only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinExporter>,
    /// A Datadog agent's trace API. Traces only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<DatadogExporter>,
    /// A file with one export request in OTLP/JSON on each line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileExporter>,
    /// Standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<ConsoleExporter>,
}

impl Exporter {
    /// The fields that hold the kinds.
    pub(super) const KINDS: [&'static str; 5] =
        ["openTelemetry", "zipkin", "datadog", "file", "console"];

    /// The kinds that are set, by their fields.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let set = [
            self.open_telemetry.is_some(),
            self.zipkin.is_some(),
            self.datadog.is_some(),
            self.file.is_some(),
            self.console.is_some(),
        ];
        Self::KINDS.into_iter().zip(set).filter_map(|(kind, set)| set.then_some(kind))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.name.as_deref().or_else(|| self.kinds().next()).unwrap_or_default()
    }

    /// Whether it can take a signal.
    pub fn takes(&self, signal: SignalName) -> bool {
        signal == SignalName::Traces || (self.zipkin.is_none() && self.datadog.is_none())
    }

    /// Its kind with its settings; the first where several are set, which validation refuses.
    pub fn spec(&self) -> Option<ExporterSpec> {
        let Self { name: _, open_telemetry, zipkin, datadog, file, console } = self;
        let open_telemetry = open_telemetry.clone().map(ExporterSpec::from);
        open_telemetry
            .or_else(|| Some(ExporterSpec::Zipkin(Box::new(zipkin.clone()?))))
            .or_else(|| Some(ExporterSpec::Datadog(Box::new(datadog.clone()?))))
            .or_else(|| Some(ExporterSpec::File(file.clone()?)))
            .or_else(|| Some(ExporterSpec::Console(console.clone()?)))
    }
}
