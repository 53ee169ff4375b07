//! What a pipeline is told.

use super::{Exporter, GatewayFile, Route};
use crate::pipeline::processor::SignalName;
use crate::pipeline::{Backend, PipelineConfig, SignalConfig};

impl GatewayFile {
    /// The pipeline's task. It knows no proxy, so nothing is said of one: telemetry is passed on for others.
    pub fn pipeline(&self) -> PipelineConfig {
        PipelineConfig {
            traces: self.signal(SignalName::Traces),
            metrics: self.signal(SignalName::Metrics),
            logs: self.signal(SignalName::Logs),
            ..PipelineConfig::default()
        }
    }

    fn signal(&self, signal: SignalName) -> SignalConfig {
        let exporters = self.exporters.iter().filter(|exporter| self.sends(signal, exporter));
        let backend = |exporter: &Exporter| Some(Backend::new(exporter.name(), exporter.spec()?));
        let backends: Vec<_> = exporters.filter_map(backend).collect();
        let processors = if backends.is_empty() { Vec::new() } else { self.processors.clone() };
        SignalConfig { backends, processors, ..SignalConfig::default() }
    }

    /// Whether `signal` goes to `exporter`.
    pub(super) fn sends(&self, signal: SignalName, exporter: &Exporter) -> bool {
        let routed = |route: &Route| {
            (route.signals.is_empty() || route.signals.contains(&signal))
                && route.exporters.iter().any(|name| name == exporter.name())
        };
        exporter.takes(signal) && (self.routes.is_empty() || self.routes.iter().any(routed))
    }
}
