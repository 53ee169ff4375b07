//! `ursa delete`.

use std::process::ExitCode;

use clap::Args;
use ursa_model::kind::Scope;

use crate::client::{Client, ServerArgs};
use crate::documents;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// Delete resources.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa delete meshtrace all
  ursa delete -f policy.yaml")]
pub(crate) struct Arguments {
    /// The kind: MeshTrace, meshtraces or mt.
    #[arg(required_unless_present = "filename", requires = "name")]
    kind: Option<String>,
    /// The resource's name.
    name: Option<String>,
    /// The mesh.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// Delete what a file or folder describes. May be repeated.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["kind", "name"])]
    filename: Vec<std::path::PathBuf>,
    /// Not finding a resource is no failure.
    #[arg(long)]
    ignore_not_found: bool,
}

pub(super) async fn run(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    let client = Client::new(server)?;
    let mut targets = Vec::new();
    if let (Some(kind), Some(name)) = (&arguments.kind, &arguments.name) {
        let kind = super::get::kind(kind)?;
        let whole = match kind.scope {
            Scope::Global => format!("{} {name}", kind.name),
            Scope::Mesh => format!("{} {}/{name}", kind.name, arguments.mesh),
        };
        targets.push((whole, super::get::path(kind, &arguments.mesh, Some(name))));
    }
    let sources = documents::read(&arguments.filename)?;
    let read = documents::parse(&sources);
    if !read.refused.is_empty() {
        return Err(documents::refusal(&read.refused, &sources, output)?);
    }
    for ursa_model::document::Document { key, .. } in read.texts.into_iter().flatten() {
        let kind = super::get::kind(&key.kind)?;
        let mesh = key.mesh.as_deref().unwrap_or_default();
        targets.push((key.to_string(), super::get::path(kind, mesh, Some(&key.name))));
    }
    if targets.is_empty() {
        return Err(Failure::unreadable("no resource in the given files"));
    }
    // What refers to others goes first, as it came last. One that cannot go does not hold up the others.
    let mut failed = Vec::new();
    for (name, path) in targets.iter().rev() {
        let reply = client.delete(path).await?;
        if reply.is_success() {
            output.result(&format!("{name} deleted"))?;
        } else if !(arguments.ignore_not_found && reply.is_not_found()) {
            failed.push(reply.failure());
        }
    }
    let last = failed.pop();
    for failure in &failed {
        output.failure(failure);
    }
    last.map_or(Ok(ExitCode::SUCCESS), Err)
}
