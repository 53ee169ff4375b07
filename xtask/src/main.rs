//! The developers' own tasks. Only cargo is needed to run them: `cargo xtask help`.

mod bench;
mod check;
mod coverage;
mod generate;
mod kill;
mod licences;
mod peers;
mod project;
mod rooms;
mod soak;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use peers::Peer;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "The developers' own tasks", version = None)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Proves what needs no test: the order of the rooms, what is generated, format, lints, docs
    Check,
    /// Fetches the peers that are missing, builds everything, and runs the tests
    Test {
        /// Also what takes minutes: hundreds of kills, a gateway and a mesh under load
        #[arg(long)]
        all: bool,
        /// And tells which share of the lines they run, as `coverage` does
        #[arg(long)]
        coverage: bool,
    },
    /// Fetches or builds the real servers that tests talk to; all of them unless named
    Peers {
        /// Which
        #[arg(value_enum)]
        names: Vec<Peer>,
    },
    /// Measures; nothing fails because a figure is worse than it should be
    Bench {
        /// What; `up` and `policy` unless named
        #[command(subcommand)]
        bench: Option<bench::Bench>,
    },
    /// Loads a gateway whose backend dies and returns: nothing grows, nothing is lost
    Soak {
        /// For how long
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// This program, and not one built for tests
        #[arg(long, value_name = "PATH")]
        ursa: Option<PathBuf>,
    },
    /// Kills a queue and a pipeline at any moment, over and over: nothing acknowledged is lost
    Kill {
        /// How often, each
        #[arg(long, default_value_t = kill::MANY)]
        rounds: u64,
    },
    /// Tells which share of the lines the tests run, crate by crate
    Coverage {
        /// These crates alone, by their own tests
        crates: Vec<String>,
        /// Also the lines that are not run
        #[arg(long)]
        missing: bool,
    },
    /// Writes what is generated and checked in
    Generate {
        /// Only says what is stale
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Check => check::run(),
        Task::Test { all, coverage } => test::run(all, coverage),
        Task::Peers { names } => peers::provide(if names.is_empty() { Peer::ALL } else { &names }),
        Task::Bench { bench } => bench::run(bench),
        Task::Soak { minutes, ursa } => soak::run(Duration::from_secs(60 * minutes), ursa),
        Task::Kill { rounds } => kill::run(rounds),
        Task::Coverage { crates, missing } => coverage::run(crates, missing),
        Task::Generate { check } => generate::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            project::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
