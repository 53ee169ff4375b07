//! Which resource attributes the pipeline puts on: the one place for all signals.
//!
//! Weakest first: what is detected here (only where the telemetry does not say it itself),
//! `OTEL_RESOURCE_ATTRIBUTES` of the environment, what the control plane knows of the proxy, what
//! the backend says, what the policies say. All but the first win over what the telemetry says.
//!
//! A pipeline that stands beside no proxy (a gateway: no facts, nothing known) passes on what others
//! said of themselves, so neither what is detected here nor the environment counts.

use std::collections::BTreeMap;

use ursa_model::pipeline::{PipelineConfig, SignalConfig};
use ursa_model::template;

use crate::rpc::unpercent;
use crate::surroundings::Surroundings;

/// OpenTelemetry SDK configuration: `key=value` pairs, separated by commas, percent-encoded.
const OTEL_RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// Templates refer to the environment as `{{env.NAME}}`.
const ENV: &str = "env.";

/// The attributes of a signal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Put on whatever the telemetry says.
    pub(crate) set: BTreeMap<String, String>,
    /// Put on where the telemetry does not say it.
    pub(crate) fill: BTreeMap<String, String>,
}

/// The attributes of a signal for a backend with attributes of its own, and warnings about those that
/// had to be left out.
pub(crate) fn of(
    config: &PipelineConfig,
    signal: &SignalConfig,
    own: &BTreeMap<String, String>,
    variable: impl Fn(&str) -> Option<String>,
    surroundings: &Surroundings,
) -> (Attributes, Vec<String>) {
    let mut warnings = Vec::new();
    let for_others = config.facts.is_empty() && config.resource.is_empty();
    let of_environment = variable(OTEL_RESOURCE_ATTRIBUTES).filter(|_| !for_others);
    let mut set = from_environment(of_environment, &mut warnings);
    set.extend(config.resource.clone());
    let lookup = |name: &str| match name.strip_prefix(ENV) {
        Some(name) => variable(name),
        None => config.facts.get(name).or_else(|| surroundings.facts.get(name)).cloned(),
    };
    let weaker = own.iter().filter(|(key, _)| !signal.resource_attributes.contains_key(*key));
    for (key, value) in weaker.chain(&signal.resource_attributes) {
        let rendered = template::render(value, lookup);
        match rendered.value {
            Some(value) => {
                set.insert(key.clone(), value);
            }
            None => warnings.push(format!(
                "resource attribute {key} is left out: {} has no value",
                rendered.missing.join(", ")
            )),
        }
    }
    let fill = if for_others { BTreeMap::new() } else { detected(config, surroundings) };
    (Attributes { set, fill }, warnings)
}

/// What the surroundings say, and the service's instance.
fn detected(config: &PipelineConfig, surroundings: &Surroundings) -> BTreeMap<String, String> {
    let mut found = surroundings.attributes.clone();
    if let (Some(mesh), Some(name)) = (config.facts.get("mesh"), config.facts.get("name")) {
        found.insert("service.instance.id".to_owned(), format!("{mesh}.{name}"));
    }
    found
}

/// All of the variable counts, or nothing: a slip in it must not half apply.
fn from_environment(text: Option<String>, warnings: &mut Vec<String>) -> BTreeMap<String, String> {
    let text = text.unwrap_or_default();
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let key = unpercent(key.trim().as_bytes());
        (!key.is_empty()).then(|| (key, unpercent(value.trim().as_bytes())))
    };
    pairs.map(pair).collect::<Option<_>>().unwrap_or_else(|| {
        warnings.push(format!("{OTEL_RESOURCE_ATTRIBUTES} is ignored: it is not key=value,…"));
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn config() -> PipelineConfig {
        let mut config = PipelineConfig {
            facts: map([("mesh", "default"), ("name", "cart-1"), ("version", "v2")]),
            resource: map([("service.name", "cart"), ("a", "dataplane"), ("b", "dataplane")]),
            ..PipelineConfig::default()
        };
        config.traces.resource_attributes = map([
            ("b", "policy"),
            ("version", "{{version}}"),
            ("region", "{{env.REGION}}"),
            ("zone", "{{zone | default \"none\"}}"),
            ("lost", "{{k8s.pod}}"),
            ("node", "{{k8s.node}}"),
        ]);
        config
    }

    #[test]
    fn stronger_sources_win() {
        let environment =
            map([("OTEL_RESOURCE_ATTRIBUTES", "a=env, b=env,c=s%C3%BC%C3%9F"), ("REGION", "eu")]);
        let config = config();
        let own = map([("b", "backend"), ("backend", "{{mesh}}")]);
        let variable = |name: &str| environment.get(name).cloned();
        let surroundings = Surroundings {
            facts: map([("k8s.node", "n"), ("mesh", "never")]),
            attributes: map([("host.name", "node-1"), ("service.name", "never")]),
        };
        let (attributes, warnings) = of(&config, &config.traces, &own, variable, &surroundings);
        let set = map([
            ("a", "dataplane"),
            ("b", "policy"),
            ("backend", "default"),
            ("c", "süß"),
            ("node", "n"),
            ("region", "eu"),
            ("service.name", "cart"),
            ("version", "v2"),
            ("zone", "none"),
        ]);
        let fill = map([
            ("host.name", "node-1"),
            ("service.instance.id", "default.cart-1"),
            ("service.name", "never"),
        ]);
        assert_eq!(attributes, Attributes { set, fill });
        assert_eq!(warnings, ["resource attribute lost is left out: k8s.pod has no value"]);
    }

    fn surroundings() -> Surroundings {
        Surroundings { attributes: map([("host.name", "node-1")]), ..Surroundings::default() }
    }

    #[test]
    fn what_others_say_of_themselves_is_passed_on() {
        let config = PipelineConfig::default();
        let environment = |_: &str| Some("a=env".to_owned());
        let (attributes, _) =
            of(&config, &config.traces, &BTreeMap::new(), environment, &surroundings());
        assert_eq!(attributes, Attributes::default());
    }

    #[test]
    fn a_malformed_variable_is_ignored_as_a_whole() {
        let mut warnings = Vec::new();
        assert!(from_environment(Some("a=b,oops".into()), &mut warnings).is_empty());
        assert_eq!(warnings, ["OTEL_RESOURCE_ATTRIBUTES is ignored: it is not key=value,…"]);
    }
}
