//! The control plane: REST API, ADS, certificates, recent telemetry, live view.
//!
//! ```text
//! api ──► resources ──► Store ──► planner: snapshot ──► affected ──► generate ──► ads ──► agents
//!                                                                              ▲
//!                                                     proxies (connected) ─────┘
//! ```
//!
//! What is written ends in the store; each change makes the next immutable snapshot of a mesh; the
//! configuration of a proxy is a pure function of snapshot and proxy, made again only for those
//! proxies that a change touches; and a stream sends each agent the difference between what it
//! holds and what it should hold.
//!
//! Not here: how Envoy is started, and what a policy means.

mod ads;
mod affected;
mod api;
mod authority;
mod backends;
mod config;
mod control_plane;
mod files;
mod generate;
mod grpc;
pub mod gui;
mod identity;
mod insight;
mod lacks;
mod measured;
mod metrics;
mod monitoring;
mod patch;
mod plan;
mod planner;
mod posture;
mod proxies;
mod questions;
mod references;
mod resources;
mod secrets;
mod serve;
mod snapshot;
mod spans;
mod states;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod tokens;

pub use authority::{Authority, AuthorityError};
pub use config::{Addresses, Config};
pub use control_plane::{ControlPlane, Running, StartError};
pub use files::FileError;
pub use resources::{Action, Applied, ChangeError, Source};
pub use serve::ListenError;
pub use spans::OwnTraces;
pub use tokens::{Identity, Refused, TokenError, Tokens};
