//! `cargo xtask coverage`: which share of the lines the tests run, crate by crate. Neither tests nor the program itself
//! are counted.
//!
//! The compiler counts (`-C instrument-coverage`), in the workspace's own crates alone, so that dependencies are built
//! once for this and for everything else. Every process counts into a file of its own, from its first moment to its last:
//! the tests, those that they kill, and in the journeys each `ursa`.

mod lines;
mod llvm;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::project::{self, cargo, root, say, target, tell};
use crate::test;
use lines::{File, Lines};
pub(crate) use llvm::Tools;

/// In percent of all lines.
const WANTED: f64 = 90.0;
/// Where an instrumented program writes its counts.
const PROFILE: &str = "LLVM_PROFILE_FILE";
/// The name of such a file: by process, program, and counted into all along.
const COUNTS: &str = "%p-%m%c.profraw";

/// Measures those crates by their own tests, or the workspace if none is named; `missing` tells what is not run, too.
pub(crate) fn run(crates: Vec<String>, missing: bool) -> anyhow::Result<()> {
    let all = crates.is_empty();
    let tools = Tools::provide()?;
    let build = || Coverage::build(tools, crates);
    let coverage = if all { test::with_peers(build)? } else { build()? };
    say("coverage: running the tests");
    coverage.test(missing)
}

/// Tests that count.
pub(crate) struct Coverage {
    tools: Tools,
    /// What is measured; all if empty.
    crates: Vec<String>,
    /// The programs that count.
    programs: Vec<PathBuf>,
}

impl Coverage {
    /// Builds the tests of those crates, or of the workspace.
    pub(crate) fn build(tools: Tools, crates: Vec<String>) -> anyhow::Result<Self> {
        let programs = build(&crates)?;
        Ok(Self { tools, crates, programs })
    }

    /// Runs them and prints what they ran.
    pub(crate) fn test(&self, missing: bool) -> anyhow::Result<()> {
        let folder = target().join("coverage");
        let counts = folder.join("counts");
        match std::fs::remove_dir_all(&counts) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => std::fs::create_dir_all(&counts)?,
        }
        let mut tests = counted(&["test", "--no-fail-fast"], &self.crates);
        let passed = project::run(tests.env(PROFILE, counts.join(COUNTS)));
        say("coverage: reading the counts");
        let table = self.tools.read(&counts, &self.programs, &folder)?;
        let mut files = lines::by_file(&table, &root().join("crates"))?;
        files.retain(|file| self.wants(&file.room));
        if missing {
            files.iter().filter_map(File::missing).for_each(|line| tell(&line));
        }
        let total = show(&files);
        passed?;
        let percent = total.percent();
        ensure!(
            !self.crates.is_empty() || percent >= WANTED,
            "{percent:.1} % of the lines are run; {WANTED} % are wanted"
        );
        Ok(())
    }

    fn wants(&self, room: &str) -> bool {
        if self.crates.is_empty() {
            room != "ursa"
        } else {
            self.crates.iter().any(|name| name == room)
        }
    }
}

/// Builds what is to run, and says where it is. What build scripts count goes nowhere.
fn build(crates: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut build =
        counted(&["test", "--no-run", "--message-format=json-render-diagnostics"], crates);
    let built = build.env(PROFILE, "/dev/null").stderr(Stdio::inherit()).output()?;
    ensure!(built.status.success(), "the tests cannot be built");
    let messages = serde_json::Deserializer::from_slice(&built.stdout).into_iter::<Value>();
    let mut programs = Vec::new();
    for message in messages {
        let message = message.context("read what cargo built")?;
        programs.extend(message["executable"].as_str().map(PathBuf::from));
    }
    Ok(programs)
}

/// Cargo, for what is measured. The tasks themselves are not: they would replace the program that runs this.
fn counted(arguments: &[&str], crates: &[String]) -> Command {
    let mut command = cargo(arguments);
    command.env("RUSTC_WORKSPACE_WRAPPER", wrapper());
    if crates.is_empty() {
        command.args(["--workspace", "--exclude", "xtask"]);
    }
    command.args(crates.iter().flat_map(|name| ["--package", name]));
    command
}

fn wrapper() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coverage/counting.sh")
}

/// Prints a line for each crate and one for all.
fn show(files: &[File]) -> Lines {
    let mut rooms = BTreeMap::<&str, Lines>::new();
    let mut total = Lines::default();
    for file in files {
        *rooms.entry(&file.room).or_default() += file.lines;
        total += file.lines;
    }
    for (name, lines) in rooms {
        tell(&format!("{name:<16} {lines}"));
    }
    tell(&format!("{:<16} {total}", "all"));
    total
}
