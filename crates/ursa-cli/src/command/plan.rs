//! `ursa plan`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::documents::{self, Source};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};
use crate::plan;

/// Show what a change would do, before it does. Exit code 0: nothing; 2: something; 1: it is wrong.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa plan -f policy.yaml
  ursa plan -f policies/ --values               # without the lines of Envoy's configuration
  ursa plan --delete -f policy.yaml
  ursa plan --delete meshtrace all -o json
  ursa plan -f policy.yaml; test $? -ne 2 || echo something would change")]
pub(crate) struct Arguments {
    /// With --delete: the kind, MeshTrace, meshtraces or mt.
    #[arg(requires = "delete", requires = "name")]
    kind: Option<String>,
    /// With --delete: the resource's name.
    name: Option<String>,
    /// The mesh of what is deleted by name.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// A file, a folder (its .yaml, .yml and .json files), or - for standard input. May be repeated.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["kind", "name"], required_unless_present = "kind")]
    filename: Vec<PathBuf>,
    /// The resources would be deleted.
    #[arg(long)]
    delete: bool,
    /// Only which values would change, without the lines of Envoy's configuration.
    #[arg(long)]
    values: bool,
    /// Over how many seconds rates are measured; 0: estimate nothing.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=60))]
    rates: u8,
    /// Of how many proxies at most Envoy is asked whether it accepts their configuration; 0: it is not asked.
    #[arg(long, value_name = "PROXIES", default_value_t = 10)]
    validate: usize,
    /// The Envoy that is asked. Default: $URSA_ENVOY, `envoy` in $PATH, the one that Ursa keeps.
    #[arg(long, value_name = "FILE")]
    envoy: Option<PathBuf>,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    // 2 says that something would change, and not that something cannot be read.
    plan(arguments, server, output).await.map_err(Failure::ordinary)
}

async fn plan(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    let sources = documents::read(&arguments.filename)?;
    let client = Client::new(server)?;
    let envoy = match arguments.validate {
        0 => None,
        _ => crate::up::envoy::find(arguments.envoy.as_deref(), output).await?,
    };
    let bootstraps = if envoy.is_some() { arguments.validate } else { 0 };
    let mut request = json!({"rateSeconds": arguments.rates, "bootstraps": bootstraps});
    if arguments.delete {
        request["delete"] = deleted(&arguments, &sources, output)?.into();
    } else {
        request["documents"] = documents::texts(&sources);
    }
    let gateways = documents::refuse_gateways(&sources);
    if !gateways.is_empty() {
        return Err(documents::refusal(&gateways, &sources, output)?);
    }
    let reply = client.post("/_plan", &request).await?;
    if !reply.is_success() {
        let problem = reply.problem();
        return Err(match problem["violations"].as_array() {
            Some(violations) if !violations.is_empty() => {
                documents::refusal(violations, &sources, output)?
            }
            _ => reply.failure(),
        });
    }
    let mut answer = reply.json()?;
    let refused = match &envoy {
        Some(envoy) => plan::validate(&mut answer, envoy).await?,
        None => 0,
    };
    if arguments.output == Form::Table {
        plan::show(&answer, &sources, arguments.values, output)?;
        if envoy.is_none() && arguments.validate > 0 && plan::touches(&answer) {
            output.note(
                "no Envoy was asked whether it accepts this: none is here; name one with --envoy",
            );
        }
    } else {
        output.structured(arguments.output, &answer)?;
    }
    if refused > 0 {
        return Err(Failure::new("Envoy would refuse its configuration"));
    }
    Ok(if plan::changes(&answer) { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// What would be deleted: the one that is named, or all of the files.
fn deleted(arguments: &Arguments, sources: &[Source], output: Output) -> Outcome<Vec<Value>> {
    if let (Some(kind), Some(name)) = (&arguments.kind, &arguments.name) {
        let kind = super::get::kind(kind)?;
        return Ok(vec![json!({"kind": kind.name, "mesh": arguments.mesh, "name": name})]);
    }
    let read = documents::parse(sources);
    if !read.refused.is_empty() {
        return Err(documents::refusal(&read.refused, sources, output)?);
    }
    let keys = read.texts.into_iter().flatten().map(|document| document.key);
    Ok(keys.map(|key| json!(key)).collect())
}
