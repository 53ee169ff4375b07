//! `cargo xtask check`: every check runs, and what failed is said at the end.

use anyhow::bail;

use crate::project::{self, cargo, say};
use crate::{generate, licences, rooms};

type Check = fn() -> anyhow::Result<()>;

const CHECKS: [(&str, Check); 6] = [
    ("order of the rooms", rooms::check),
    ("licences", licences::check),
    ("what is generated", || generate::run(true)),
    ("format", || project::run(&mut cargo(&["fmt", "--all", "--check"]))),
    ("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        project::run(&mut cargo(&lints))
    }),
    ("documentation", || {
        let documents = ["doc", "--workspace", "--no-deps", "--document-private-items"];
        project::run(cargo(&documents).env("RUSTDOCFLAGS", "-D warnings"))
    }),
];

pub(crate) fn run() -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        say(&format!("check: {name}"));
        if let Err(error) = check() {
            say(&format!("{error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    say("check: all is well");
    Ok(())
}
