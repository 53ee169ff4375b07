//! Zipkin's server, from Maven Central. Java 17 or later runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::project::{program, run_quietly, say};

/// Its place in the cache.
pub(super) const PATH: &str = "peers/zipkin/3.6.1/zipkin.jar";

const URL: &str =
    "https://repo1.maven.org/maven2/io/zipkin/zipkin-server/3.6.1/zipkin-server-3.6.1-exec.jar";
const SHA256: &str = "d8326e0ed4f43855dba81228f688554706e52578a7c782d9a90b73f8680654a1";

/// Fetches it into a directory.
pub(super) fn fetch(directory: &Path) -> anyhow::Result<PathBuf> {
    say("peers: fetching Zipkin 3.6.1 from Maven Central (some 135 MB)");
    let jar = directory.join("zipkin.jar");
    let curl = ["--fail", "--silent", "--show-error", "--location", "--retry", "3", "--output"];
    run_quietly(Command::new("curl").args(curl).arg(&jar).arg(URL))?;
    std::fs::write(directory.join("wanted"), format!("{SHA256}  zipkin.jar\n"))?;
    let check = ["--check", "--strict", "wanted"];
    run_quietly(Command::new("sha256sum").args(check).current_dir(directory))?;
    Ok(jar)
}

/// Sees to it that there is a Java to run it.
pub(super) fn java() -> anyhow::Result<()> {
    program("java")
        .map(drop)
        .context("there is no java; on Debian: apt-get install default-jre-headless")
}
