//! What a proxy is told, and why: `ursa inspect proxy`, `ursa explain proxy`, `ursa config proxy`.

mod config;
mod explain;
mod inspect;
mod policy;
mod state;

use clap::Args;

use crate::output::Form;

pub(super) use config::{Config, config};
pub(super) use explain::{Explain, explain};
pub(crate) use explain::{origin, plain};
pub(super) use inspect::{Inspect, backend_state, inspect};
pub(crate) use state::{State, state};

#[derive(Debug, Args)]
pub(super) struct ProxyArgs {
    /// The Dataplane's name.
    name: String,
    /// The mesh.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Form,
}

impl ProxyArgs {
    pub(super) fn path(&self, page: &str) -> String {
        format!("/meshes/{}/dataplanes/{}/{page}", self.mesh, self.name)
    }
}

/// The query by which a proxy is looked at.
fn look(shadow: bool) -> Vec<(&'static str, String)> {
    if shadow { vec![("shadow", "true".to_owned())] } else { Vec::new() }
}
