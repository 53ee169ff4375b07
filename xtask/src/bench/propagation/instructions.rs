//! The module's own instructions for a request: its tests replay one under callgrind, which counts by library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::project::{root, tell};

/// What is replayed: the test's name, and what is said of it.
const REPLAYS: [(&str, &str); 6] = [
    ("w3c_and_b3", "W3C and B3"),
    ("w3c_and_b3_from_b3", "W3C and B3, b3 comes in"),
    ("all_formats", "all formats"),
    ("all_formats_from_datadog", "all formats, Datadog comes in"),
    ("baggage_passes", "baggage of three members, all pass"),
    ("baggage_is_rewritten", "the same, two set and one denied"),
];
/// How often each does it.
const ROUNDS: f64 = 1_000.0;
/// How the library's file is called.
const LIBRARY: &str = "libursa-envoy-module-";

/// Counts and tells.
pub(super) fn run() -> anyhow::Result<()> {
    let tests = tests()?;
    tell("instructions of the module for a request, both hooks, with its copying (callgrind)");
    for (name, of) in REPLAYS {
        tell(&format!("{of:<37} {:.0}", count(&tests, name)? / ROUNDS));
    }
    Ok(())
}

/// Builds the module's tests.
fn tests() -> anyhow::Result<PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--package", "ursa-envoy-module", "--test", "module", "--no-run"])
        .arg("--message-format=json")
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(built.status.success(), "the module's tests do not build");
    let messages = String::from_utf8_lossy(&built.stdout);
    let mut programs = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "module")
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.next().context("cargo does not say where the module's tests are")
}

/// Instructions that the library ran in a test, and what it called to copy.
fn count(tests: &Path, name: &str) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("callgrind");
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(tests)
        .args(["--exact", &format!("replay::{name}"), "--test-threads", "1"])
        .output()
        .context("run valgrind, which has to be there for this")?;
    let said = String::from_utf8_lossy(&ran.stdout);
    ensure!(said.contains("1 passed"), "{name}: {said}{}", String::from_utf8_lossy(&ran.stderr));
    let counted = of_library(&std::fs::read_to_string(&file)?);
    ensure!(counted > 0, "{name}: callgrind saw nothing of the library");
    Ok(counted as f64)
}

/// Sums lines of callgrind's format: costs of the library's functions themselves, and those of `memcpy` and its like
/// that they called.
fn of_library(profile: &str) -> u64 {
    let (mut inside, mut called, mut after_call, mut sum) = (false, "", false, 0);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            inside = object.contains(LIBRARY);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            called = function;
        } else if line.starts_with("calls=") {
            after_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            let is_own = !after_call || called.contains("mem");
            if inside && is_own {
                sum += cost.unwrap_or_default();
            }
            after_call = false;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_the_library_and_of_its_copying_are_summed() {
        let profile = "ob=/run/x/libursa-envoy-module-1.so\nfl=???\nfn=mutate\n0 70\ncob=/host\ncfn=set_header\n\
                       calls=1 0\n0 5000\ncob=/libc.so.6\ncfn=__memcpy_avx\ncalls=2 0\n0 40\n0 3\nob=/host\n\
                       fn=set_header\n0 5000\n";
        assert_eq!(of_library(profile), 113);
    }
}
