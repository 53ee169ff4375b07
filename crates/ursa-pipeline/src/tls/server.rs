//! Our side of TLS towards clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::client::pair_error;
use super::files::{self, Files};
use super::{TlsError, provider};

/// How long files are taken to be as they were, so that a storm of connections does not read them
/// for each.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The files of a server's TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate that is shown, with those between it and its authority. PEM.
    pub cert: PathBuf,
    /// Its key. PEM.
    pub key: PathBuf,
    /// Authorities of clients, PEM. Given: a client must show a certificate of theirs.
    pub client_ca: Option<PathBuf>,
}

/// TLS towards clients.
#[derive(Debug)]
pub struct ServerTls {
    files: Files<ServerConfig>,
}

impl ServerTls {
    /// TLS with these files; `protocols` are accepted by ALPN, the best first.
    ///
    /// # Errors
    /// The files cannot be read, or do not fit together.
    pub async fn open(files: ServerFiles, protocols: &[&str]) -> Result<Self, TlsError> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|one| one.as_bytes().to_vec()).collect();
        let ServerFiles { cert, key, client_ca } = files;
        let paths = [cert.clone(), key.clone()].into_iter().chain(client_ca.clone()).collect();
        let files = Files::new(paths, move |contents: &[Vec<u8>]| {
            let mut contents = contents.iter();
            let mut next = || contents.next().map(Vec::as_slice).unwrap_or_default();
            let certificates = files::certificates(&cert, next())?;
            let key_der = files::key(&key, next())?;
            let clients = match &client_ca {
                Some(path) => Some(files::roots(path, next())?),
                None => None,
            };
            let builder = server_builder(clients)?;
            let config = builder.with_single_cert(certificates, key_der);
            let mut config = config.map_err(|error| pair_error(&error, &cert, &key))?;
            config.alpn_protocols.clone_from(&protocols);
            Ok(config)
        });
        let this = Self { files };
        this.config().await?;
        Ok(this)
    }

    /// What new connections are accepted with: the files as they are now, or as they were when they
    /// last fitted together.
    ///
    /// # Errors
    /// The files never fitted together.
    pub async fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        Ok(self.files.get(LOOK_EVERY).await?.value)
    }
}

type Builder = rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>;

fn server_builder(clients: Option<RootCertStore>) -> Result<Builder, TlsError> {
    let setup = |error: &dyn std::fmt::Display| TlsError::Setup(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(&error))?;
    Ok(match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.build().map_err(|error| setup(&error))?)
        }
    })
}
