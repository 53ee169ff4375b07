//! What one can type: one module per command, each with its arguments and what it does.

pub(crate) mod apply;
mod completion;
pub(crate) mod cp;
mod crds;
mod delete;
mod dp;
mod gateway;
mod get;
mod plan;
pub(crate) mod proxy;
mod request;
mod schema;
mod telemetry;
mod token;
mod trace;
mod validate;

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::client::ServerArgs;
use crate::failure::{Doing, Outcome};
use crate::output::{Color, Output};
use crate::{demo, exec_tied, up};

/// Observability for Envoy meshes: policies in; traces, metrics and logs out.
#[derive(Debug, Parser)]
#[command(name = "ursa", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "\
Examples:
  ursa up                           a demo mesh with real Envoys, traced, in one command
  ursa plan -f policy.yaml          what a change would do, before it does
  ursa apply -f policy.yaml         create or change resources
  ursa traces --errors              recent traces with an error
  ursa trace 4bf92f3577b34da6       one trace as a waterfall
  ursa telemetry status             what of the telemetry waits, was delivered, was lost
  ursa explain proxy frontend       every effective value and the line that set it")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Arguments of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// When to colour the output; auto: on a terminal, unless `$NO_COLOR` is set.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        display_order = 1000
    )]
    pub(crate) color: Color,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Arguments),
    Apply(apply::Arguments),
    Plan(plan::Arguments),
    Get(get::Arguments),
    Delete(delete::Arguments),
    Validate(validate::Arguments),
    Inspect(proxy::Inspect),
    Explain(proxy::Explain),
    Config(proxy::Config),
    Traces(trace::List),
    Trace(trace::Show),
    Telemetry(telemetry::Arguments),
    Schema(schema::Arguments),
    Crds(crds::Arguments),
    Token(token::Arguments),
    Cp(cp::Arguments),
    Dp(dp::Arguments),
    Gateway(gateway::Arguments),
    Completion(completion::Arguments),
    #[command(hide = true)]
    DemoService(demo::Arguments),
    #[command(hide = true)]
    ExecTied(ExecTied),
}

/// The commands that ask a control plane.
const ASKING: [&[&str]; 12] = [
    &["apply"],
    &["plan"],
    &["get"],
    &["delete"],
    &["inspect"],
    &["explain"],
    &["config"],
    &["traces"],
    &["trace"],
    &["telemetry", "status"],
    &["telemetry", "audit"],
    &["token"],
];

/// The whole command line.
fn whole() -> clap::Command {
    ServerArgs::shown_at(Cli::command(), &ASKING)
}

/// Reads the process's arguments.
pub(crate) fn read() -> Result<Cli, clap::Error> {
    let mut command = whole();
    let read = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&read).map_err(|error| error.format(&mut command))
}

/// Runs a program that ends when its parent does.
#[derive(Debug, Args)]
struct ExecTied {
    /// The process whose end ends the program.
    #[arg(long, value_name = "PID")]
    parent: u32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<std::ffi::OsString>,
}

/// Says what is wrong with what was typed, or what was asked about it.
pub(crate) fn misunderstood(error: &clap::Error) -> ExitCode {
    // With standard error gone there is nobody left to tell.
    drop(error.print());
    // Of a plan, 2 says that something would change.
    let plan = std::env::args_os().nth(1).is_some_and(|command| command == "plan");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if plan => ExitCode::FAILURE,
        code => u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Runs what was typed.
pub(crate) fn run(cli: Cli, output: Output) -> Outcome {
    let Cli { global, command } = cli;
    // The shim must not start threads: it becomes the program.
    if let Command::ExecTied(ExecTied { parent, mut program }) = command {
        let rest = program.split_off(1);
        let program = program.pop().expect("clap wants at least one");
        let error = exec_tied::run(parent, &program, &rest);
        return Err(crate::failure::Failure::because(
            format!("cannot run {}", program.to_string_lossy()),
            &error,
        ));
    }
    let workers = command.workers();
    // One thread does without a second: the one that waits is the one that works.
    let alone = workers == 1 && matches!(command, Command::Gateway(_));
    let mut builder = if alone {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime =
        builder.worker_threads(workers).enable_all().build().doing("start the runtime")?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Up(arguments) => up::run(arguments, output).await,
            Command::Apply(arguments) => apply::run(arguments, &global.server, output).await,
            Command::Plan(arguments) => plan::run(arguments, &global.server, output).await,
            Command::Get(arguments) => get::run(arguments, &global.server, output).await,
            Command::Delete(arguments) => delete::run(arguments, &global.server, output).await,
            Command::Validate(arguments) => validate::run(&arguments, output),
            Command::Inspect(arguments) => proxy::inspect(arguments, &global.server, output).await,
            Command::Explain(arguments) => proxy::explain(arguments, &global.server, output).await,
            Command::Config(arguments) => proxy::config(arguments, &global.server, output).await,
            Command::Traces(arguments) => trace::list(arguments, &global.server, output).await,
            Command::Trace(arguments) => trace::show(arguments, &global.server, output).await,
            Command::Telemetry(arguments) => {
                telemetry::run(arguments, &global.server, output).await
            }
            Command::Token(arguments) => token::run(arguments, &global.server, output).await,
            Command::Cp(arguments) => cp::run(arguments, output).await,
            Command::Dp(arguments) => dp::run(arguments, output).await,
            Command::Gateway(arguments) => gateway::run(arguments, output).await,
            Command::Schema(arguments) => schema::run(&arguments, output),
            Command::Crds(arguments) => crds::run(&arguments, output),
            Command::Completion(arguments) => completion::run(&arguments, output),
            Command::DemoService(arguments) => demo::run(arguments).await,
            Command::ExecTied(_) => Ok(ExitCode::FAILURE),
        }
    });
    // A blocking read of standard input would otherwise hold the process.
    runtime.shutdown_background();
    outcome
}

impl Command {
    /// Threads of the runtime. What runs beside each proxy is kept small.
    fn workers(&self) -> usize {
        match self {
            Self::Cp(_) | Self::Up(_) => {
                std::thread::available_parallelism().map_or(2, |n| n.get().min(8))
            }
            Self::Gateway(arguments) => arguments.workers(),
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_control_plane_is_is_asked_by_those_who_ask_it() {
        let mut whole = whole();
        whole.build();
        let help = |path: &[&str]| {
            let mut command = whole.clone();
            for name in path {
                command = command.find_subcommand(name).unwrap().clone();
            }
            command.render_long_help().to_string()
        };
        for path in
            [&["get"][..], &["inspect", "proxies"], &["telemetry", "audit"], &["token", "admin"]]
        {
            assert!(help(path).contains("--server-token-file"), "{path:?}");
        }
        for path in
            [&[][..], &["up"], &["schema"], &["dp"], &["completion"], &["telemetry", "test"]]
        {
            assert!(!help(path).contains("--server"), "{path:?}");
        }
        assert!(help(&["inspect"]).starts_with("Show a proxy's state"));
        let server = |arguments: &[&str]| {
            let read = self::whole().try_get_matches_from(arguments).unwrap();
            Cli::from_arg_matches(&read).unwrap().global.server.url().to_string()
        };
        let (anywhere, first) = (
            ["ursa", "get", "meshes", "--server", "http://a"],
            ["ursa", "--server", "http://a", "get", "meshes"],
        );
        assert_eq!([server(&anywhere), server(&first)], ["http://a/", "http://a/"]);
        let deep = ["ursa", "token", "admin", "--server", "http://a"];
        assert_eq!(server(&deep), "http://a/");
    }

    #[test]
    fn every_kind_of_policy_can_be_inspected_by_all_its_names() {
        let whole = whole();
        let inspect = whole.find_subcommand("inspect").unwrap();
        for kind in ursa_policies::kinds().iter().filter(|kind| kind.policy) {
            let own = kind.name.to_lowercase();
            for name in [own.as_str(), kind.plural].iter().chain(kind.short) {
                let found = inspect.find_subcommand(name).map(clap::Command::get_name);
                assert_eq!(found, Some(own.as_str()), "{name}");
            }
        }
    }
}
