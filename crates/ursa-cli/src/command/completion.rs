//! `ursa completion`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::failure::Outcome;
use crate::output::Output;

/// Print a shell's completion script.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(ursa completion bash)
  ursa completion fish > ~/.config/fish/completions/ursa.fish")]
pub(crate) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments, output: Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::whole(), "ursa", &mut script);
    output.result(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
