//! `ursa apply`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::documents::{self, Files};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};

/// Create or change resources: all of them, or none when one is wrong.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa apply -f policy.yaml
  ursa apply -f examples/demo -f my-policies/
  kubectl get meshtrace all -n kuma-system -o yaml | ursa apply -f -
  ursa apply -f policy.yaml --dry-run

With $TRACEPARENT set (and $TRACESTATE, $BAGGAGE), what the control plane does of it is part of that trace, if it traces itself.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Check everything, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    let sources = arguments.files.read()?;
    let client = Client::new(server)?;
    let answer = apply(&client, &sources, arguments.dry_run).await?;
    let answer = match answer {
        Applied::Done(answer) => answer,
        Applied::Refused(mut violations) => {
            if arguments.output == Form::Table {
                return Err(documents::refusal(&violations, &sources, output)?);
            }
            documents::name_files(&mut violations, &sources);
            let (warnings, violations): (Vec<_>, Vec<_>) =
                violations.into_iter().partition(documents::is_warning);
            output.structured(
                arguments.output,
                &json!({ "violations": violations, "warnings": warnings }),
            )?;
            return Ok(ExitCode::FAILURE);
        }
    };
    if arguments.output == Form::Table {
        show(&answer, &sources, arguments.dry_run, output)?;
    } else {
        output.structured(arguments.output, &answer)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What came of an apply.
pub(crate) enum Applied {
    /// The server's answer.
    Done(Value),
    /// What is wrong, with the warnings. Nothing was changed.
    Refused(Vec<Value>),
}

/// Sends all sources as one change.
pub(crate) async fn apply(
    client: &Client,
    sources: &[documents::Source],
    dry_run: bool,
) -> Outcome<Applied> {
    let gateways = documents::refuse_gateways(sources);
    if !gateways.is_empty() {
        return Ok(Applied::Refused(gateways));
    }
    let documents = documents::texts(sources);
    let reply = client.post("/_apply", &json!({"documents": documents, "dryRun": dry_run})).await?;
    if reply.is_success() {
        return Ok(Applied::Done(reply.json()?));
    }
    match reply.problem()["violations"].as_array() {
        Some(violations) if !violations.is_empty() => Ok(Applied::Refused(violations.clone())),
        _ => Err(reply.failure()),
    }
}

fn show(
    answer: &Value,
    sources: &[documents::Source],
    dry_run: bool,
    output: Output,
) -> Outcome<()> {
    let results =
        answer["results"].as_array().ok_or_else(|| Failure::new("the answer names no results"))?;
    if results.is_empty() {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        return Err(Failure::new(format!("no resource in {}", names.join(", "))));
    }
    let mut text = String::new();
    for result in results {
        let key = &result["key"];
        let action = result["action"].as_str().unwrap_or("done");
        let line =
            format!("{} {action}{}\n", key_text(key), if dry_run { " (dry run)" } else { "" });
        text.push_str(&line);
        for warning in result["warnings"].as_array().into_iter().flatten() {
            output.warning(&documents::one_line(warning, sources));
        }
    }
    output.result(&text)
}

/// `MeshTrace default/all`, `Mesh default`.
pub(crate) fn key_text(key: &Value) -> String {
    let part = |name: &str| key[name].as_str().unwrap_or_default();
    match key["mesh"].as_str() {
        Some(mesh) => format!("{} {mesh}/{}", part("kind"), part("name")),
        None => format!("{} {}", part("kind"), part("name")),
    }
}
