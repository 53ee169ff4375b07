//! `cargo xtask kill`: `kill -9` of a queue's and of a pipeline's process at any moment, over and over. What was
//! acknowledged is there, and no more comes again than `docs/reference/queue-format.md` says.

use crate::project::{self, cargo, say};

/// How often, with `cargo xtask test --all`.
pub(crate) const MANY: u64 = 300;
/// Where the tests look how often.
const ROUNDS: &str = "URSA_CRASH_ROUNDS";

/// Kills each so often.
pub(crate) fn run(rounds: u64) -> anyhow::Result<()> {
    for (package, test) in [
        ("ursa-queue", ["--lib", "tests::crash::"]),
        ("ursa-pipeline", ["--test=crash", "every_acknowledged_span"]),
    ] {
        say(&format!("kill: {package}, {rounds} times"));
        let mut killing = cargo(&["test", "--package", package]);
        killing.args(test).args(["--", "--nocapture"]).env(ROUNDS, rounds.to_string());
        project::run(&mut killing)?;
    }
    Ok(())
}
