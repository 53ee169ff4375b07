//! What changes telemetry on its way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One step between receiver and queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Processor {}
