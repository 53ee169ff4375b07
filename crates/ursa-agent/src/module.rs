//! The library that Envoy loads for trace context in formats that its tracer lacks: put beside it, and tried.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use tokio::time::timeout;
use ursa_envoy::abilities::Module;
use ursa_envoy::module::trial;
use ursa_envoy_module::{ENVOYS, LIBRARY, Library};

use crate::binary::{PATIENCE, Version, run};

/// How all of its files' names begin, whatever their content.
const PREFIX: &str = "libursa-envoy-module-";
/// Characters of Envoy's own words that are told.
const MAX_WORDS: usize = 200;

/// Puts the library into `dir`, an absolute path, where no Envoy runs yet, and asks `envoy`, which is of `version`,
/// whether it loads it; if it is `wanted`.
pub(crate) async fn provide(dir: &Path, envoy: &Path, version: Version, wanted: bool) -> Module {
    let offered = if wanted {
        offered(dir, envoy, version).await
    } else {
        Err("its agent was started with `--no-module`".to_owned())
    };
    match offered {
        Ok(path) => Module::At(path),
        Err(why) => {
            tracing::info!(why, "no module: trace context travels in Envoy's own formats");
            Module::Missing(why)
        }
    }
}

async fn offered(dir: &Path, envoy: &Path, version: Version) -> Result<String, String> {
    let library = LIBRARY.ok_or("there is no module for this platform")?;
    if !ENVOYS.contains(&(version.major, version.minor)) {
        let known: Vec<_> =
            ENVOYS.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
        return Err(format!("the module is for Envoy {}, and this is {version}", known.join(", ")));
    }
    remove(dir, |name| name != library.file_name);
    let path = put(dir, &library).map_err(|error| {
        format!("the module could not be written to {}: {error}", dir.display())
    })?;
    let path = path.to_str().ok_or("the work directory's path is not UTF-8")?;
    match timeout(PATIENCE, is_refused(dir, envoy, path)).await {
        Ok(Ok(None)) => Ok(path.to_owned()),
        Ok(Ok(Some(words))) => Err(format!("Envoy {version} does not load the module: {words}")),
        Ok(Err(error)) => {
            Err(format!("Envoy could not be asked whether it loads the module: {error}"))
        }
        Err(_) => {
            Err(format!("Envoy did not say within {} s whether it loads it", PATIENCE.as_secs()))
        }
    }
}

/// Removes those of its files from `dir` whose names are meant: at the start what other versions of the agent left, at
/// the end all.
pub(crate) fn remove(dir: &Path, is_meant: impl Fn(&str) -> bool) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_meant = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && is_meant(name));
        if is_meant && let Err(error) = fs::remove_file(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "could not be removed");
        }
    }
}

/// Writes the file unless it is there. Never in place: an Envoy may have it mapped.
fn put(dir: &Path, library: &Library) -> io::Result<PathBuf> {
    let path = dir.join(library.file_name);
    if fs::read(&path).is_ok_and(|present| present == library.bytes) {
        return Ok(path);
    }
    let new = path.with_extension("new");
    fs::write(&new, library.bytes)?;
    fs::set_permissions(&new, Permissions::from_mode(0o644))?;
    fs::rename(&new, &path)?;
    Ok(path)
}

/// Has Envoy load it, which takes it some 60 ms, most of them for its own start. What it says if it does not.
async fn is_refused(dir: &Path, envoy: &Path, module: &str) -> io::Result<Option<String>> {
    let bootstrap = trial(module).map_err(io::Error::other)?;
    let config = dir.join("module.pb");
    fs::write(&config, bootstrap.encode_to_vec())?;
    let arguments = ["--mode", "validate", "--log-level", "error", "--log-format", "%v"];
    let arguments = arguments.iter().map(AsRef::as_ref);
    let config_path = ["--config-path".as_ref(), config.as_os_str()];
    let output = run(envoy, &arguments.chain(config_path).collect::<Vec<_>>()).await;
    fs::remove_file(&config)?;
    let output = output?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // The first is the cause of those that follow.
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    let words = first.map_or_else(|| output.status.to_string(), str::to_owned);
    Ok(Some(words.chars().take(MAX_WORDS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version { major: 1, minor: 40, patch: 0 };

    /// Something that answers as Envoy would; another process writes it, which nobody starts meanwhile.
    fn stand_in(dir: &Path, answer: &str) -> PathBuf {
        let path = dir.join("envoy");
        let write = format!("printf '#!/bin/sh\\n{answer}\\n' > \"$1\"; chmod 755 \"$1\"");
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", &write, "sh"]).arg(&path).status().unwrap().success());
        path
    }

    #[tokio::test]
    async fn it_is_written_once_and_others_go() {
        let dir = tempfile::tempdir().unwrap();
        let envoy = stand_in(dir.path(), "exit 0");
        let library = LIBRARY.unwrap();
        let old = dir.path().join("libursa-envoy-module-0.so");
        fs::write(&old, "old").unwrap();
        let path = dir.path().join(library.file_name);
        fs::write(&path, "torn").unwrap();
        let expected = Module::At(path.to_str().unwrap().to_owned());
        assert_eq!(provide(dir.path(), &envoy, VERSION, true).await, expected);
        assert_eq!(fs::read(&path).unwrap(), library.bytes);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        let written = path.metadata().unwrap().modified().unwrap();
        assert_eq!(provide(dir.path(), &envoy, VERSION, true).await, expected);
        assert_eq!(path.metadata().unwrap().modified().unwrap(), written);
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["envoy", library.file_name]);
    }

    #[tokio::test]
    async fn it_says_why_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let old = Version { minor: 36, patch: 4, ..VERSION };
        let none = Path::new("/none");
        let why = |module: Module| module.problem().unwrap().to_owned();
        let words = why(provide(dir.path(), none, VERSION, false).await);
        assert_eq!(words, "its agent was started with `--no-module`");
        let words = why(provide(dir.path(), none, old, true).await);
        assert_eq!(words, "the module is for Envoy 1.40, and this is 1.36.4");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let words = why(provide(dir.path(), none, VERSION, true).await);
        assert!(words.contains("could not be asked whether"), "{words}");
        let envoy = stand_in(dir.path(), "echo; echo cannot open shared object >&2; exit 1");
        let words = why(provide(dir.path(), &envoy, VERSION, true).await);
        assert_eq!(words, "Envoy 1.40.0 does not load the module: cannot open shared object");
    }
}
