//! `ursa validate`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::documents::{self, Files};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};

/// Check resources and gateway files without a server. Exit code 0: valid; 1: violations; 2: unreadable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa validate -f policy.yaml
  ursa validate -f policies/ --output json
  ursa validate -f gateway.yaml
  git diff --name-only -- '*.yaml' | xargs -I{} ursa validate -f {}")]
pub(crate) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Outcome {
    let sources = arguments.files.read()?;
    let documents::Parsed { texts, refused: mut violations, warned: mut warnings } =
        documents::parse_any(&sources);
    let valid: Vec<_> = texts.into_iter().flatten().map(|document| document.key).collect();
    documents::name_files(&mut violations, &sources);
    documents::name_files(&mut warnings, &sources);
    let is_refused = |name: &str| violations.iter().any(|violation| violation["file"] == name);
    let gateways: Vec<_> = sources
        .iter()
        .filter(|source| source.is_gateway() && !is_refused(&source.name))
        .map(|source| &source.name)
        .collect();
    if arguments.output != Form::Table {
        output.structured(
            arguments.output,
            &json!({"valid": valid, "validGateways": gateways, "violations": violations, "warnings": warnings}),
        )?;
        return Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for warning in &warnings {
        output.warning(&documents::one_line(warning, &sources));
    }
    if violations.is_empty() {
        let resources = valid.iter().map(|key| format!("{key} valid"));
        let gateways = gateways.iter().map(|name| format!("gateway {name} valid"));
        let lines: Vec<_> = resources.chain(gateways).collect();
        output.result(&if lines.is_empty() {
            "no resources found".to_owned()
        } else {
            lines.join("\n")
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(documents::show(&violations, &sources, output)?))
}
