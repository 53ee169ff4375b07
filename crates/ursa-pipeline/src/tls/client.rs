//! Our side of TLS towards a backend.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;
use ursa_model::backend::{Tls, TlsMode};

use super::files::{self, Files};
use super::trust::Verifier;
use super::{TlsError, provider};

/// Sessions that are remembered to be taken up again.
const SESSIONS: usize = 4;

/// The system's authorities, read when they are first needed.
static SYSTEM_ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

/// TLS towards one backend.
#[derive(Debug)]
pub(crate) struct ClientTls {
    files: Files<ClientConfig>,
    name: Result<ServerName<'static>, TlsError>,
    /// A certificate of ours is shown.
    shows: bool,
    /// Any certificate is accepted.
    accepts_any: bool,
    /// The system's authorities are needed.
    system: bool,
    roots: Arc<OnceCell<Arc<RootCertStore>>>,
}

/// What new connections are made with.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    /// Connections of another generation were made with other files.
    pub(crate) generation: u64,
    /// Why the files as they are now are not in force.
    pub(crate) warning: Option<TlsError>,
}

impl ClientTls {
    /// TLS as `tls` says with the server `host`. `protocols` are offered by ALPN, the best first.
    pub(crate) fn new(tls: &Tls, host: &str, protocols: &[&str]) -> Self {
        let name = tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::ServerName(name.to_owned()));
        let ca = tls.ca.as_ref().filter(|_| tls.mode != Some(TlsMode::System)).map(PathBuf::from);
        let pair = tls.cert.as_ref().zip(tls.key.as_ref());
        let pair = pair.map(|(cert, key)| (PathBuf::from(cert), PathBuf::from(key)));
        let accepts_any = tls.insecure_skip_verify;
        let roots = Arc::new(OnceCell::new());
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|one| one.as_bytes().to_vec()).collect();
        let (shows, system) = (pair.is_some(), ca.is_none() && !accepts_any);
        let of_pair = pair.iter().flat_map(|(cert, key)| [cert.clone(), key.clone()]);
        let paths = ca.iter().cloned().chain(of_pair).collect();
        let system_roots = Arc::clone(&roots);
        let files = Files::new(paths, move |contents: &[Vec<u8>]| {
            let mut contents = contents.iter();
            let mut next = || contents.next().map(Vec::as_slice).unwrap_or_default();
            let given = ca.as_ref().map(|path| files::roots(path, next())).transpose()?;
            let roots = match given {
                _ if accepts_any => None,
                Some(given) => Some(Arc::new(given)),
                None => {
                    let system = system_roots.get().cloned();
                    Some(system.ok_or_else(|| TlsError::NoSystemRoots(String::new()))?)
                }
            };
            let pair = pair
                .as_ref()
                .map(|(cert, key)| ((cert.as_path(), next()), (key.as_path(), next())));
            config(roots, pair, protocols.clone())
        });
        Self { files, name, shows, accepts_any, system, roots }
    }

    /// Whether any certificate is accepted.
    pub(crate) fn accepts_any(&self) -> bool {
        self.accepts_any
    }

    /// Whether a certificate of ours is shown.
    pub(crate) fn shows_certificate(&self) -> bool {
        self.shows
    }

    /// What new connections are made with, of files as they were at most `age` ago.
    pub(crate) async fn current(&self, age: Duration) -> Result<Current, TlsError> {
        let name = self.name.clone()?;
        if self.system {
            self.roots.get_or_try_init(system_roots).await?;
        }
        let in_force = self.files.get(age).await?;
        Ok(Current {
            config: in_force.value,
            name,
            generation: in_force.generation,
            warning: in_force.warning,
        })
    }
}

/// A file and what it holds.
type Read<'a> = (&'a Path, &'a [u8]);

/// Without roots, any certificate is accepted.
fn config(
    roots: Option<Arc<RootCertStore>>,
    pair: Option<(Read<'_>, Read<'_>)>,
    protocols: Vec<Vec<u8>>,
) -> Result<ClientConfig, TlsError> {
    let setup = |error: rustls::Error| TlsError::Setup(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(roots)?));
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some(((cert_path, cert), (key_path, key))) => {
            let certificates = files::certificates(cert_path, cert)?;
            let key = files::key(key_path, key)?;
            let config = builder.with_client_auth_cert(certificates, key);
            config.map_err(|error| pair_error(&error, cert_path, key_path))?
        }
    };
    config.alpn_protocols = protocols;
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// Why a certificate and a key cannot be used together.
pub(super) fn pair_error(error: &rustls::Error, cert: &Path, key: &Path) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { cert: cert.display().to_string(), key: key.display().to_string() }
        }
        error => files::malformed(key, error),
    }
}

async fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    let roots = SYSTEM_ROOTS.get_or_try_init(|| async {
        let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
        let found = found.map_err(|error| TlsError::Setup(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reason = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(TlsError::NoSystemRoots(reason));
        }
        Ok(Arc::new(roots))
    });
    roots.await.cloned()
}
