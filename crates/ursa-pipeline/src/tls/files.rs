//! What is made of files, made anew when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::TlsError;

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// How the contents of files, in order, become a value.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, TlsError> + Send + Sync>;

/// A value made of files.
pub(super) struct Files<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    state: Mutex<Option<State<T>>>,
}

struct State<T> {
    contents: Vec<Vec<u8>>,
    value: Arc<T>,
    /// Counts values.
    generation: u64,
    looked: Instant,
    /// Why the files as they are now are not in force.
    warning: Option<TlsError>,
}

/// A value as it is in force.
pub(super) struct InForce<T> {
    pub(super) value: Arc<T>,
    /// Another one is another value.
    pub(super) generation: u64,
    /// Why the files as they are now are not in force.
    pub(super) warning: Option<TlsError>,
}

impl<T> fmt::Debug for Files<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl<T> Files<T> {
    pub(super) fn new(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Self {
        Self { paths, make: Box::new(make), state: Mutex::new(None) }
    }

    /// The value of the files as they were at most `age` ago; or, when they make none now, as they
    /// were when they last did.
    pub(super) async fn get(&self, age: Duration) -> Result<InForce<T>, TlsError> {
        let mut state = self.state.lock().await;
        match &mut *state {
            Some(state) => {
                if !self.paths.is_empty() && state.looked.elapsed() >= age {
                    self.look(state).await;
                }
                Ok(state.in_force())
            }
            None => {
                let contents = self.read().await?;
                let value = Arc::new((self.make)(&contents)?);
                let looked = Instant::now();
                let first = State { contents, value, generation: 0, looked, warning: None };
                Ok(state.insert(first).in_force())
            }
        }
    }

    async fn look(&self, state: &mut State<T>) {
        let read = self.read().await;
        state.looked = Instant::now();
        let made = match read {
            Ok(contents) if contents == state.contents => {
                state.warning = None;
                return;
            }
            Ok(contents) => (self.make)(&contents).map(|value| (contents, value)),
            Err(error) => Err(error),
        };
        match made {
            Ok((contents, value)) => {
                info!(files = ?self.paths, "certificates changed");
                state.contents = contents;
                state.value = Arc::new(value);
                state.generation = state.generation.wrapping_add(1);
                state.warning = None;
            }
            Err(error) => {
                if state.warning.as_ref() != Some(&error) {
                    warn!(%error, "certificates changed and cannot be used; the old ones stay in force");
                }
                state.warning = Some(error);
            }
        }
    }

    async fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let mut contents = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let failed = |error: std::io::Error| TlsError::Read {
                path: path.display().to_string(),
                reason: error.to_string(),
            };
            let file = tokio::fs::File::open(path).await.map_err(failed)?;
            let mut content = Vec::new();
            file.take(MAX_FILE + 1).read_to_end(&mut content).await.map_err(failed)?;
            if content.len() as u64 > MAX_FILE {
                return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
            }
            contents.push(content);
        }
        Ok(contents)
    }
}

impl<T> State<T> {
    fn in_force(&self) -> InForce<T> {
        let warning = self.warning.clone();
        InForce { value: Arc::clone(&self.value), generation: self.generation, warning }
    }
}

/// Every certificate in a file; at least one.
pub(super) fn certificates(
    path: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let certificates = certificates.map_err(|error| malformed(path, &error))?;
    if certificates.is_empty() {
        let path = path.display().to_string();
        return Err(TlsError::Missing { path, what: "certificate" });
    }
    Ok(certificates)
}

/// The key in a file.
pub(super) fn key(path: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(content).map_err(|error| match error {
        Error::NoItemsFound => {
            TlsError::Missing { path: path.display().to_string(), what: "private key" }
        }
        error => malformed(path, &error),
    })
}

pub(super) fn malformed(path: &Path, error: &dyn fmt::Display) -> TlsError {
    TlsError::Malformed { path: path.display().to_string(), reason: error.to_string() }
}

/// Authorities in a file.
pub(super) fn roots(path: &Path, content: &[u8]) -> Result<rustls::RootCertStore, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(path, content)? {
        roots.add(certificate).map_err(|error| malformed(path, &error))?;
    }
    Ok(roots)
}
