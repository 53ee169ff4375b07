//! Telemetry: receivers, processors, queue, exporters, on OTLP's wire form.
//!
//! ```text
//! receive ──► Sink: Pipeline ──► processors ──► Queue ──► Exporter   (one pair per signal and backend)
//!                     │                          ledger      breaker
//!                     └── audit
//! ```
//!
//! Telemetry stays bytes: a request is checked by a walk over its fields ([`ursa_otlp::wire`]), edited by
//! copying what stays, and sent on concatenated with others. A receiver acknowledges a request
//! after its [`Sink`] stored it, so what was acknowledged is either sent or counted as dropped.
//!
//! For every backend and signal, and of each receiver, `received = delivered + waiting + in flight +
//! dropped + filtered + merged` at every moment ([`Ledger`]; as metrics, [`ursa_metrics::pipeline`]).
//!
//! Not here: meshes and policies (a [`ursa_model::pipeline::PipelineConfig`] says what to do), and
//! where telemetry comes from.

mod accept;
mod aside;
mod attributes;
mod audit;
mod backend;
mod compress;
mod control;
mod decompress;
mod export;
mod ledger;
mod meters;
mod pipeline;
pub mod receive;
mod route;
mod rpc;
mod sink;
mod status;
mod storage;
mod stream;
mod surroundings;
mod tasks;
#[cfg(test)]
mod tests;
mod tls;
mod translate;

pub use audit::{Audit, AuditStage, AuditVerdict, AuditWindow, AuditedSpan, Stage};
pub use export::probe;
pub use ledger::Ledger;
pub use pipeline::{Pipeline, PipelineInputs};
pub use sink::{Received, Refusal, Sink};
pub use status::{
    BackendState, BackendStatus, BreakerState, BreakerStatus, OrphanedQueue, PipelineStatus,
    Storage,
};
pub use ursa_otlp::{Form, Signal};
