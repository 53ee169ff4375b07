//! A pipeline that runs alone: a [`GatewayFile`](ursa_model::gateway::GatewayFile) made into
//! receivers, a pipeline, and a status that can be asked.
//!
//! ```text
//! GatewayFile ──► Receivers ──► Pipeline
//!                    └────────────┴──► status: /ready /status /metrics /audit/{trace}
//! ```
//!
//! Another file may take its place at any time: receivers that did not change keep their sockets,
//! backends that did not change keep their connections, and nothing that was acknowledged is lost.
//!
//! Not here: reading the file and showing what is wrong in it ([`ursa_model::gateway::parse`], the
//! binary); how telemetry is received, changed, kept and sent (`ursa-pipeline`).

mod gateway;
mod receivers;
mod status;
#[cfg(test)]
mod tests;
mod watch;

pub use gateway::{Config, Gateway, ReloadError, Reloaded, StartError};
pub use receivers::{Listening, OpenError};
pub use watch::FileWatch;
