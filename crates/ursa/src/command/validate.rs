//! `ursa validate`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::documents::{self, Files};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};

/// Check resources without a server. Exit code 0: valid; 1: violations; 2: unreadable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa validate -f policy.yaml
  ursa validate -f policies/ --output json
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
    let kinds = ursa_policies::kinds();
    let mut valid = Vec::new();
    let mut violations = Vec::new();
    let mut warnings = Vec::new();
    for source in &sources {
        let parsed = ursa_model::document::parse(&source.text, &kinds);
        valid.extend(parsed.documents.into_iter().map(|document| document.key));
        for violation in parsed.violations {
            let refused = violation.severity == ursa_model::report::Severity::Refused;
            let mut value = serde_json::to_value(&violation)
                .map_err(|error| Failure::because("encode a violation", &error))?;
            value["file"] = json!(source.name);
            if refused { violations.push(value) } else { warnings.push(value) }
        }
    }
    if arguments.output != Form::Table {
        output.structured(
            arguments.output,
            &json!({"valid": valid, "violations": violations, "warnings": warnings}),
        )?;
        return Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for warning in &warnings {
        output.warning(&documents::one_line(warning, &sources));
    }
    if violations.is_empty() {
        let lines: Vec<_> = valid.iter().map(|key| format!("{key} valid")).collect();
        output.result(&if lines.is_empty() {
            "no resources found".to_owned()
        } else {
            lines.join("\n")
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(documents::refusal(&violations, &sources, output)?)
}
