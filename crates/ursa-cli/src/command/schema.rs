//! `ursa schema`.

use std::process::ExitCode;

use clap::Args;
use ursa_model::schema::published;

use crate::failure::Outcome;
use crate::output::{Notation, Output};

/// Print the JSON Schema of resources, by which editors complete and check.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa schema > ursa.schema.json                # every kind; put into a file's first line:
                                                # yaml-language-server: $schema=ursa.schema.json
  ursa schema meshtrace                         # one kind
  ursa schema gateway                           # the file of `ursa gateway -f`")]
pub(crate) struct Arguments {
    /// The kind: MeshTrace, meshtraces or mt; or gateway. Without it one schema for all kinds of resources.
    kind: Option<String>,
    /// How it is written.
    #[arg(short, long, value_enum, default_value_t = Notation::Json)]
    output: Notation,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Outcome {
    let schema = match arguments.kind.as_deref() {
        None => published::of_kinds(&ursa_policies::kinds()),
        Some("gateway") => published::of_gateway(),
        Some(kind) => published::of_kind(super::get::kind(kind)?),
    };
    output.structured(arguments.output.into(), &schema)?;
    Ok(ExitCode::SUCCESS)
}
