//! The tracing file: where the control plane sends traces of its own work, and which.
//!
//! Like the gateway file it is no resource: it is read before the store is, so `${secret:…}` has no meaning in it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use crate::gateway::Exporter;
use crate::percent::Percent;
use crate::pipeline::{Backend, PipelineConfig, SignalConfig};
use crate::report::{Report, Violation};
use crate::tree::{Node, Place};
use crate::yaml;

/// The most members of baggage that may be named.
const MAX_BAGGAGE: usize = 16;

/// Which of the control plane's own work is traced, and where its spans go.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingFile {
    /// The share of the work without a caller's decision that is traced. A caller who sends `traceparent` has decided. Percent. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Percent>,
    /// Members of a caller's `baggage` that become attributes, by these names, of all spans of its trace. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baggage: Vec<String>,
    /// Where the spans go; each backend gets all of them.
    pub backends: Vec<Exporter>,
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The file, if nothing was refused.
    pub tracing: Option<TracingFile>,
    /// All that is wrong or worth a warning, by place.
    pub violations: Vec<Violation>,
}

/// The schema of the file; its descriptions are the reference.
pub fn schema() -> Schema {
    schema_for!(TracingFile)
}

/// Reads a tracing file: YAML or JSON, one document.
pub fn parse(text: &str) -> Parsed {
    let mut read = yaml::read(text.strip_prefix('\u{feff}').unwrap_or(text));
    if read.node.is_none() && read.violations.is_empty() {
        read.node = Some(Node::empty_map(Place::START));
    }
    let Some(root) = read.node else {
        return Parsed { tracing: None, violations: read.violations };
    };
    let mut violations = read.violations;
    let report = Report::new(&root);
    crate::schema::check(&root, &schema(), &report.cursor());
    let mut tracing = None;
    if !report.refuses() {
        let mut written = root.clone();
        written.drop_nulls();
        tracing = report.cursor().decode::<TracingFile>(&written);
        if let Some(file) = &tracing {
            file.validate(&report);
        }
    }
    violations.extend(report.finish());
    violations.sort_by_key(|violation| violation.place);
    if violations.iter().any(Violation::is_refusal) {
        tracing = None;
    }
    Parsed { tracing, violations }
}

impl TracingFile {
    /// What the pipeline of these spans is told. `resource` is what the control plane says of itself.
    pub fn pipeline(&self, resource: BTreeMap<String, String>) -> PipelineConfig {
        let backends = self.backends.iter().filter_map(|exporter| {
            let own = exporter.open_telemetry.as_ref();
            let resource_attributes = own.map(|it| it.resource_attributes.clone());
            Some(Backend {
                resource_attributes: resource_attributes.unwrap_or_default(),
                ..Backend::new(exporter.name(), exporter.spec()?)
            })
        });
        PipelineConfig {
            resource,
            traces: SignalConfig { backends: backends.collect(), ..SignalConfig::default() },
            ..PipelineConfig::default()
        }
    }

    fn validate(&self, report: &Report<'_>) {
        let cursor = report.at("backends");
        if self.backends.is_empty() {
            cursor.refuse_with_hint(
                "nothing is sent anywhere",
                "for example `- openTelemetry: {endpoint: \"collector:4317\"}`",
            );
        }
        let mut names = BTreeSet::new();
        for (index, backend) in self.backends.iter().enumerate() {
            let cursor = cursor.index(index);
            backend.validate(&cursor);
            if !names.insert(backend.name()) {
                cursor.refuse_with_hint(
                    format!("a second backend is called `{}`", backend.name()),
                    "give each a `name` of its own",
                );
            }
        }
        if self.baggage.len() > MAX_BAGGAGE {
            report.at("baggage").refuse(format!("names more than {MAX_BAGGAGE} members"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let parsed = parse(text);
        assert_eq!(parsed.tracing.is_none(), parsed.violations.iter().any(Violation::is_refusal));
        parsed.violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_backend_is_any_backend() {
        let text = "sampling: 12.5\nbaggage: [team]\nbackends:\n- openTelemetry: {endpoint: 'http://127.0.0.1:4318', \
                    resourceAttributes: {deployment.environment.name: prod}}\n- {name: old, zipkin: {url: 'http://z:9411/api/v2/spans'}}\n";
        let parsed = parse(text);
        assert_eq!(parsed.violations, []);
        let file = parsed.tracing.unwrap();
        assert_eq!(file.sampling.unwrap().millionths(), 125_000);
        let config = file.pipeline(BTreeMap::from([("service.name".to_owned(), "cp".to_owned())]));
        let names: Vec<_> = config.traces.backends.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["openTelemetry", "old"]);
        assert_eq!(config.traces.backends[0].resource_attributes.len(), 1);
        assert!(config.logs.backends.is_empty() && config.metrics.backends.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, wrong) in [
            ("", "backends"),
            ("backends: []", "nothing is sent anywhere"),
            ("backends: [{}]", "needs exactly one of"),
            ("backends: [{openTelemetry: {}}, {openTelemetry: {}}]", "a second backend"),
            ("backends: [{openTelemetry: {}}]\nsampling: 101", "100"),
            ("backends: [{openTelemetry: {}}]\nsampled: 1", "sampled"),
            ("backends: [{openTelemetry: {headers: {a: '${secret:b}'}}}]", "secret"),
        ] {
            let words = words(text);
            assert!(words.iter().any(|it| it.contains(wrong)), "{text}: {words:?}");
        }
    }
}
