//! The gateway file: receivers, processors, exporters and routes of a pipeline that runs alone.
//!
//! It is no resource: it has no envelope and no store stands behind it, so `${secret:…}` has no meaning in it. Its parts are those of the policies:
//! an exporter is a backend, a processor a processor. [`parse()`] reads it as documents are read, with all that is wrong at once;
//! [`GatewayFile::pipeline`] is what a pipeline is told.

mod compile;
mod exporter;
mod listen;
mod parse;
mod receiver;
#[cfg(test)]
mod tests;
mod validate;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::exporter::Exporter;
pub use self::listen::{Listen, ListenError};
pub use self::parse::{Parsed, is_gateway, parse, schema};
pub use self::receiver::{Admission, ListenOptions, ListenTls, Receiver, ReceiverKind};
use crate::pipeline::Processor;
use crate::pipeline::processor::SignalName;

/// Where `storage` says that nothing is kept.
const MEMORY: &str = "memory";
/// Where the status is served unless the file says otherwise.
const STATUS: &str = "127.0.0.1:5677";

/// What a gateway receives, does with it, and where it goes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayFile {
    /// The folder in which queues lie; `memory` keeps nothing over a restart. Default: `$STATE_DIRECTORY`, else `./ursa-gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<String>,
    /// Where `/ready`, `/status`, `/metrics` and `/audit/{trace}` are served: an IP address and a port. Default `127.0.0.1:5677`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Where telemetry comes in.
    pub receivers: Vec<Receiver>,
    /// What changes it, in this order, before it is queued. None: it goes out as it came in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processors: Vec<Processor>,
    /// Where it goes.
    pub exporters: Vec<Exporter>,
    /// Which signals go where. Default: each exporter gets every signal that it can take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// Some signals and where they go. A signal that no route names goes nowhere and is not received.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Which signals. Default: all that its exporters can take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<SignalName>,
    /// The names of exporters; each gets all of these signals.
    pub exporters: Vec<String>,
}

/// Where queues are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage<'f> {
    /// Where the process keeps its state.
    Default,
    /// In this folder.
    Folder(&'f str),
    /// In memory only.
    Memory,
}

impl GatewayFile {
    /// Where queues are kept.
    pub fn storage(&self) -> Storage<'_> {
        match self.storage.as_deref() {
            None => Storage::Default,
            Some(MEMORY) => Storage::Memory,
            Some(folder) => Storage::Folder(folder),
        }
    }

    /// Where the status is served; an IP address and a port, as validation has seen to.
    pub fn status(&self) -> &str {
        self.status.as_deref().unwrap_or(STATUS)
    }
}
