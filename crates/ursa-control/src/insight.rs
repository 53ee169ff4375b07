//! How the backends of one proxy do, signal by signal: `DataplaneInsight.openTelemetry`, as Kuma shows it.
//!
//! What is enabled stands in what the agent is told. Whether it works the agent says; what keeps it from working without any agent (a backend that
//! is not there, a Secret that is not) is known here already.
//!
//! | state | means |
//! |---|---|
//! | `ready` | telemetry is delivered, or will be once there is some |
//! | `failing` | the last attempt failed; what came since waits |
//! | `blocked` | nothing can be sent until what is missing is there; telemetry waits |
//! | `missing` | the policy refers to a backend that does not exist; nothing is made for it |
//! | `unknown` | the agent is away, does not answer, or has not taken up the backend yet |

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use ursa_envoy::resources::{PIPELINE, PIPELINE_NAME};
use ursa_model::ProxyId;
use ursa_model::pipeline::{ExporterSpec, PipelineConfig, SignalConfig};
use ursa_pipeline::{BackendState, PipelineStatus, Signal};

use crate::backends::BUILT_IN;
use crate::generate::Generated;
use crate::snapshot::MeshSnapshot;

/// One signal of a backend.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfSignal {
    /// Whether the backend is sent it.
    enabled: bool,
    state: State,
    /// What has no value: `${NAME}`, `${secret:name}`, `${file:/path}`, a variable of the environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_fields: Vec<String>,
    /// Why nothing can be sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked_reasons: Vec<String>,
    /// How the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// How a signal of a backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ready,
    Failing,
    Blocked,
    Missing,
    Unknown,
}

impl OfSignal {
    fn new(state: State) -> Self {
        let (missing_fields, blocked_reasons) = (Vec::new(), Vec::new());
        Self { enabled: true, state, missing_fields, blocked_reasons, last_error: None }
    }

    fn blocked(reasons: Vec<String>) -> Self {
        let missing_fields = reasons.iter().flat_map(|reason| unset(reason)).collect();
        Self { missing_fields, blocked_reasons: reasons, ..Self::new(State::Blocked) }
    }
}

/// The insight of a proxy that is told `target`; `answer` is its agent's, if it gave one.
pub(crate) fn insight(
    id: &ProxyId,
    target: &Generated,
    mesh: &MeshSnapshot,
    answer: Option<&Value>,
) -> Value {
    let status = answer.and_then(|answer| serde_json::from_value(answer["status"].clone()).ok());
    let backends = told(target);
    let mut shown: Vec<_> = backends
        .iter()
        .map(|((name, kind), signals)| {
            let mut shown = json!({"name": name, "type": kind});
            for signal in Signal::ALL {
                shown[signal.name()] = match signals.get(signal.name()) {
                    None => json!({"enabled": false}),
                    Some(specs) => json!(of_signal(name, signal, specs, mesh, status.as_ref())),
                };
            }
            shown
        })
        .collect();
    shown.extend(missing(target, mesh).map(|name| {
        let reasons = vec![format!("there is no {name}")];
        let missing = OfSignal { blocked_reasons: reasons, ..OfSignal::new(State::Missing) };
        json!({"name": name, "state": missing.state, "blockedReasons": missing.blocked_reasons})
    }));
    json!({
        "type": "DataplaneInsight", "mesh": id.mesh, "name": id.name,
        "openTelemetry": {"backends": shown},
    })
}

/// Specs of a backend by signal.
type Signals = BTreeMap<&'static str, Vec<ExporterSpec>>;

/// The backends that the agent is told of, with their kinds.
fn told(target: &Generated) -> BTreeMap<(String, String), Signals> {
    let resource = target.resources.get(PIPELINE).and_then(|all| all.get(PIPELINE_NAME));
    let config: PipelineConfig = resource
        .and_then(|resource| serde_json::from_slice(&resource.body.value).ok())
        .unwrap_or_default();
    let channels = config.channels.iter().map(|(name, channel)| {
        let signal = if config.is_of_metrics(name) { Signal::Metrics } else { Signal::Logs };
        (signal, &channel.signal)
    });
    let signals = Signal::ALL.into_iter().zip(config.signals()).chain(channels);
    let mut backends = BTreeMap::<_, Signals>::new();
    for (signal, SignalConfig { backends: of_signal, .. }) in signals {
        for backend in of_signal {
            let key = (backend.name.clone(), kind(&backend.spec));
            let signals = backends.entry(key).or_default();
            signals.entry(signal.name()).or_default().push(backend.spec.clone());
        }
    }
    backends
}

/// The tag of a spec, such as `openTelemetry`.
fn kind(spec: &ExporterSpec) -> String {
    let written = serde_json::to_value(spec).unwrap_or_default();
    written.as_object().and_then(|spec| spec.keys().next().cloned()).unwrap_or_default()
}

fn of_signal(
    name: &str,
    signal: Signal,
    specs: &[ExporterSpec],
    mesh: &MeshSnapshot,
    status: Option<&PipelineStatus>,
) -> OfSignal {
    let secrets = specs.iter().flat_map(ExporterSpec::secret_names);
    let absent: Vec<_> = secrets
        .filter(|secret| !mesh.secrets.contains_key(secret))
        .map(|secret| format!("${{secret:{secret}}} is not set: there is no Secret `{secret}`"))
        .collect();
    if !absent.is_empty() {
        return OfSignal::blocked(absent);
    }
    let backends = status.iter().flat_map(|status| &status.backends);
    let mut own = backends.filter(|it| it.name == name && it.signal == signal && !it.removed);
    let Some(backend) = own.next() else { return OfSignal::new(State::Unknown) };
    let error = backend.last_error.clone();
    match backend.state {
        BackendState::Blocked => OfSignal::blocked(error.into_iter().collect()),
        BackendState::Down => OfSignal { last_error: error, ..OfSignal::new(State::Failing) },
        BackendState::Idle | BackendState::Up => OfSignal::new(State::Ready),
    }
}

/// Backend resources that policies look up by name and that are not there.
fn missing<'t>(target: &'t Generated, mesh: &'t MeshSnapshot) -> impl Iterator<Item = String> + 't {
    let is_missing = |key: &&ursa_model::ResourceKey| match key.kind.as_str() {
        "MeshOpenTelemetryBackend" => {
            key.name != BUILT_IN && !mesh.open_telemetry_backends.contains_key(&key.name)
        }
        _ => !mesh.trace_backends.contains_key(&key.name),
    };
    target.applied.uses.iter().filter(is_missing).map(ToString::to_string)
}

/// What a reason says to be without a value.
fn unset(reason: &str) -> Vec<String> {
    let words = reason.split([' ', ',']).map(|word| word.trim_end_matches([':', '.']));
    let names = words.filter(|word| word.starts_with("${") || word.starts_with("OTEL_"));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::testing::{site, snapshots};

    const MESH: &str = "{type: Mesh, name: default}
---
{type: Dataplane, mesh: default, name: front, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: front, kuma.io/protocol: http}}]}}
---
{type: MeshOpenTelemetryBackend, mesh: default, name: vendor, spec: {endpoint: 'https://a', headers: {x-key: '${secret:key}'}}}
---
{type: MeshTrace, mesh: default, name: all, spec: {default: {backends: [{openTelemetry: {endpoint: 'a:4317', headers: {x-key: '${KEY}'}}}],
  additionalBackends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: none}}}, {zipkin: {url: 'http://z:9411/api/v2/spans'}}]}}}
---
{type: MeshAccessLog, mesh: default, name: all, spec: {from: [{default: {backends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: vendor}}}]}}]}}
---
{type: MeshMetric, mesh: default, name: all, spec: {default: {backends: [{openTelemetry: {backendRef: {kind: MeshOpenTelemetryBackend, name: vendor}}}]}}}
";

    fn backend(name: &str, state: &str, error: Option<&str>) -> Value {
        json!({
            "name": name, "signal": "traces", "protocol": "grpc", "endpoint": "a:4317", "state": state,
            "removed": false, "waitingItems": 0, "waitingBytes": 0, "capacityBytes": 0, "oldestSeconds": 0.0,
            "enqueuedItems": 0, "sentItems": 0, "droppedItems": {}, "lastError": error,
        })
    }

    #[test]
    fn every_signal_of_every_backend_has_its_state() {
        let snapshots = snapshots(MESH);
        let mesh = snapshots.mesh("default");
        let proxy = mesh.proxy("front").unwrap();
        let target = generate(&mesh, proxy, &ursa_envoy::abilities::Abilities::default(), &site());
        let names: Vec<_> = told(&target).into_keys().collect();
        let inline = |kind: &str| {
            let own = names.iter().find(|(name, of)| of == kind && !name.contains("vendor"));
            own.map(|(name, _)| name.clone()).unwrap()
        };
        let answer = json!({"status": {"configured": true, "warnings": [], "backends": [
            backend(&inline("openTelemetry"), "blocked", Some("x-key: ${KEY} is not set")),
            backend(&inline("zipkin"), "down", Some("503 Service Unavailable")),
        ]}});
        let shown = insight(&proxy.id, &target, &mesh, Some(&answer));
        insta::with_settings!({omit_expression => true}, {
            insta::assert_snapshot!(ursa_model::document::to_yaml(&shown));
        });
        let away = insight(&proxy.id, &target, &mesh, None);
        assert_eq!(away["openTelemetry"]["backends"][1]["traces"]["state"], "unknown");
    }
}
