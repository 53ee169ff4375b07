//! What an agent is told to do with the telemetry it receives.
//!
//! It travels as JSON between versions of the control plane and of the agent, so fields that are not known are ignored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::backend::OpenTelemetryBackend;

/// The whole task of one agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineConfig {
    /// What `{{…}}` may refer to: `mesh`, `zone`, `name`, `kuma.io/service`, tags, labels.
    pub facts: BTreeMap<String, String>,
    /// Resource attributes that the control plane knows, for example `service.name`.
    pub resource: BTreeMap<String, String>,
    /// What happens to spans.
    pub traces: SignalConfig,
}

/// What happens to one signal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignalConfig {
    /// Where it goes; each backend receives all of it.
    pub backends: Vec<Backend>,
    /// Resource attributes as the policies say, the strongest last word already had. Values may hold `{{…}}`.
    pub resource_attributes: BTreeMap<String, String>,
}

/// One backend under the name it has in metrics, logs and status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Unique: the resource's key, or `inline of MeshTrace default/all`.
    pub name: String,
    /// Where and how to deliver.
    pub spec: OpenTelemetryBackend,
}

impl PipelineConfig {
    /// The Secret resources that the backends' headers and credentials name.
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.traces.backends.iter().flat_map(|backend| backend.spec.secret_names()).collect()
    }
}
