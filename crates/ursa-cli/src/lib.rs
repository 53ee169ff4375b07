//! The command line of `ursa`: observability for Envoy meshes, in one binary.
//!
//! This crate turns what a person types into calls on the rooms below and shows the answers. It knows
//! nothing of how they work: `up` starts the very commands that one could type by hand.

mod client;
mod command;
mod demo;
mod difference;
mod directories;
mod documents;
mod environment;
mod exec_tied;
mod failure;
mod logging;
mod output;
mod paint;
mod plan;
mod private;
mod telemetry;
mod traces;
mod up;

use std::process::ExitCode;

/// Does as the process's arguments say. What is wrong is on standard error, with an exit code that tells
/// it apart.
pub fn run() -> ExitCode {
    let cli = match command::read() {
        Ok(cli) => cli,
        Err(error) => return command::misunderstood(&error),
    };
    let output = output::Output::from_terminal(cli.global.color);
    match command::run(cli, output) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            failure.code()
        }
    }
}
