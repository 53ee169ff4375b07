//! Libraries of Python that trace, from PyPI: services in tests are written with them.

use std::path::{Path, PathBuf};

use super::pypi;
use crate::project::say;

/// One library, with those that it needs.
pub(super) struct Library {
    name: &'static str,
    version: &'static str,
    requirements: &'static str,
}

/// Datadog's.
pub(super) const DDTRACE: Library = Library {
    name: "ddtrace",
    version: "4.16.0",
    requirements: include_str!("../../peers/ddtrace/requirements.txt"),
};

/// Zipkin's.
pub(super) const PY_ZIPKIN: Library = Library {
    name: "py-zipkin",
    version: "1.2.8",
    requirements: include_str!("../../peers/py-zipkin/requirements.txt"),
};

/// OpenTelemetry's, with the propagators of B3 and the exporter of OTLP over HTTP.
pub(super) const OPENTELEMETRY: Library = Library {
    name: "opentelemetry-python",
    version: "1.45.2",
    requirements: include_str!("../../peers/opentelemetry-python/requirements.txt"),
};

/// The program in a library's directory: a Python that has the library.
pub(super) const PROGRAM: &str = "bin/python";

const START: &str = r#"#!/bin/sh
here="$(dirname "$(readlink -f "$0")")"
PYTHONPATH="$here/../lib" exec python3 "$@"
"#;

impl Library {
    /// Its place in the cache: a directory.
    pub(super) fn path(&self) -> PathBuf {
        ["peers", self.name, self.version].iter().collect()
    }
}

/// Fetches it into a directory, and makes a directory of it.
pub(super) fn fetch(library: &Library, directory: &Path) -> anyhow::Result<PathBuf> {
    say(&format!("peers: fetching {} {} from PyPI", library.name, library.version));
    let made = directory.join("made");
    std::fs::create_dir_all(made.join("bin"))?;
    pypi::install(directory, library.requirements, "made/lib")?;
    std::fs::write(made.join(PROGRAM), START)?;
    pypi::program(made.join(PROGRAM))?;
    Ok(made)
}
