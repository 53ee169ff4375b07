//! What runs beside each proxy: starts and watches Envoy, relays its configuration, and takes its
//! telemetry.
//!
//! ```text
//! control plane ──TLS, token──► upstream ──► relay ──ads.sock──► Envoy
//!                                              │                   │
//!                               telemetry ◄────┘◄────otlp.sock─────┘
//! ```
//!
//! - [`Agent::start`] starts all of it, [`Running`] is what then runs.
//! - [`binary`]: which Envoy; found or fetched.
//! - [`upstream`]: the connection to the control plane, and the token that it is made with.
//! - `relay`: the caching relay between control plane and Envoy, a pure state machine and its task.
//! - `identity`: the proxy's key and certificate, asked for and kept fresh; given to Envoy by the relay.
//! - `process`: Envoy's process; `admin`: its admin interface; `ads`: its side of the relay.
//! - `metrics`: metrics of Envoy, applications and the agent, gathered for Prometheus and as OTLP; `own_metrics`:
//!   what the agent says of itself there.
//! - `telemetry`: the pipeline as the control plane says; `status`: what the agent says of itself.
//!
//! What is *not* here: policies, and what Envoy's resources mean. The environment is read by the
//! program and given in [`Config`].

mod admin;
mod ads;
mod agent;
mod backoff;
pub mod binary;
mod causes;
mod identity;
mod metrics;
mod module;
mod own_metrics;
mod process;
mod relay;
mod sampled;
mod status;
mod telemetry;
pub mod upstream;

pub use agent::{Agent, Config, Running, StartError};
pub use process::EnvoyStatus;
pub use relay::TypeStatus;

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
