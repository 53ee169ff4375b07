//! What an Envoy says of itself, and whether Ursa works with it.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// The versions of Envoy that Ursa is tested with, in words.
pub const SUPPORTED: &str = "1.36 to 1.40";
const SUPPORTED_MINORS: std::ops::RangeInclusive<u32> = 36..=40;
/// The first whose tracer records a traced caller's request only if Envoy itself decided so too.
const FIRST_TO_DECIDE: (u32, u32) = (1, 39);

/// How long `envoy --version` may take. Long: the first start of a binary of 100 MB reads it all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for a program that is being written.
const BUSY: Duration = Duration::from_millis(10);

/// A version of Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1 for as long as anyone remembers.
    pub major: u32,
    /// Four a year.
    pub minor: u32,
    /// Fixes.
    pub patch: u32,
}

impl Version {
    /// Reads the answer of `envoy --version`:
    /// `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`, also with `1.41.0-dev`.
    pub fn parse(answer: &str) -> Option<Self> {
        let (_, build) = answer.split_once("version:")?;
        let release = build.trim().split('/').nth(1)?;
        let release = release.split('-').next()?;
        let mut parts = release.split('.').map(str::parse::<u32>);
        let mut part = || parts.next()?.ok();
        Some(Self { major: part()?, minor: part()?, patch: part()? })
    }

    /// Whether Ursa is tested with this version.
    pub fn support(self) -> Support {
        let supported = self.major == 1 && SUPPORTED_MINORS.contains(&self.minor);
        if supported { Support::Supported } else { Support::Unsupported }
    }

    /// Whether its tracer records every request of a traced caller, whatever Envoy itself decided.
    pub fn follows_callers(self) -> bool {
        (self.major, self.minor) < FIRST_TO_DECIDE
    }
}

/// Whether Ursa works with an Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is tested.
    Supported,
    /// It is older or newer than what is tested: it may refuse its configuration.
    Unsupported,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a program is not an Envoy to work with.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It could not be started.
    #[error("run {path} --version", path = path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("{path} --version did not answer within {seconds} s", path = path.display(), seconds = PATIENCE.as_secs())]
    Silent {
        /// The program.
        path: PathBuf,
    },
    /// It answered something else.
    #[error("{path} does not seem to be Envoy; it says of itself: {answer:?}", path = path.display())]
    NotEnvoy {
        /// The program.
        path: PathBuf,
        /// The beginning of its answer.
        answer: String,
    },
}

/// Asks a program for its version.
///
/// # Errors
/// When it cannot be run, does not answer, or is not Envoy. Any version is fine here; see
/// [`Version::support`].
pub async fn version(path: &Path) -> Result<Version, VersionError> {
    let output = tokio::time::timeout(PATIENCE, run(path, &["--version".as_ref()]))
        .await
        .map_err(|_elapsed| VersionError::Silent { path: path.to_owned() })?
        .map_err(|source| VersionError::Run { path: path.to_owned(), source })?;
    let answer = String::from_utf8_lossy(&output.stdout);
    Version::parse(&answer).ok_or_else(|| VersionError::NotEnvoy {
        path: path.to_owned(),
        answer: answer.trim().chars().take(100).collect(),
    })
}

/// Runs it to its end. A program that has just been written is busy for as long as a process that was
/// started meanwhile, on another thread, has not let go of it.
pub(crate) async fn run(path: &Path, arguments: &[&OsStr]) -> io::Result<Output> {
    loop {
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        match command.output().await {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(BUSY).await;
            }
            result => return result,
        }
    }
}
