//! `ursa token`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use ursa_model::duration::Duration;

use crate::client::{Client, ServerArgs};
use crate::failure::Outcome;
use crate::output::Output;
use crate::private;

/// Make a token: one string that joins a proxy, or opens the API.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa token dataplane --name frontend --out frontend.token
  ursa token dataplane --name frontend --mesh default --valid-for 24h
  ursa token admin --valid-for 8h --out admin.token")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    kind: Kind,
    /// Write it to this file, which its owner alone can read, and not to standard output.
    #[arg(long, value_name = "FILE", global = true)]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// For one proxy: bound to its mesh and name, and to this control plane's CA.
    Dataplane {
        /// The Dataplane's name.
        #[arg(long)]
        name: String,
        /// The mesh.
        #[arg(short, long, default_value = "default")]
        mesh: String,
        /// How long it is good for.
        #[arg(long, default_value = "720h", value_name = "DURATION")]
        valid_for: Duration,
    },
    /// For the API, where it is not on loopback.
    Admin {
        /// How long it is good for.
        #[arg(long, default_value = "720h", value_name = "DURATION")]
        valid_for: Duration,
    },
}

pub(super) async fn run(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    let client = Client::new(server)?;
    let (path, body) = match arguments.kind {
        Kind::Dataplane { name, mesh, valid_for } => (
            "/tokens/dataplane",
            json!({"name": name, "mesh": mesh, "validFor": valid_for.to_string()}),
        ),
        Kind::Admin { valid_for } => {
            ("/tokens/user/admin", json!({"validFor": valid_for.to_string()}))
        }
    };
    let reply = client.post(path, &body).await?;
    if !reply.is_success() {
        return Err(reply.failure());
    }
    match arguments.out {
        Some(path) => private::write(&path, reply.text().trim())?,
        None => output.result(reply.text().trim())?,
    }
    Ok(ExitCode::SUCCESS)
}
