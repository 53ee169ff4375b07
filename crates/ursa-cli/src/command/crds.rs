//! `ursa crds`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use ursa_model::crd;
use ursa_model::document::to_yaml;

use crate::failure::{Failure, Outcome};
use crate::output::{Form, Notation, Output};

/// Print Kubernetes' definitions of the kinds (CustomResourceDefinitions).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa crds | kubectl apply --server-side -f -
  ursa crds meshtrace -o json")]
pub(crate) struct Arguments {
    /// Only these kinds: MeshTrace, meshtraces or mt. Secrets have none: Kubernetes has its own.
    kinds: Vec<String>,
    /// How they are written.
    #[arg(short, long, value_enum, default_value_t = Notation::Yaml)]
    output: Notation,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Outcome {
    let all = ursa_policies::kinds();
    let definitions: Vec<_> = if arguments.kinds.is_empty() {
        all.iter().filter_map(crd::definition).collect()
    } else {
        let named = arguments.kinds.iter().map(|name| {
            let kind = super::get::kind(name)?;
            crd::definition(kind).ok_or_else(|| {
                Failure::new(format!(
                    "there is no definition of {}: Kubernetes has its own",
                    kind.plural
                ))
            })
        });
        named.collect::<Outcome<_>>()?
    };
    match arguments.output {
        Notation::Yaml => {
            output.result(&definitions.iter().map(to_yaml).collect::<Vec<_>>().join("---\n"))?;
        }
        Notation::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
            output.structured(Form::Json, &list)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
