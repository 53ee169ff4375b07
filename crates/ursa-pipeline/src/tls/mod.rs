//! TLS of backends and of receivers: rustls with aws-lc-rs, TLS 1.2 and 1.3.
//!
//! Files are read anew when their content changed, so that certificates can be replaced while
//! telemetry flows: connections that are open go on, new ones are made with the new files. Files that
//! do not fit together (a certificate whose key is not there yet) leave the old ones in force.
//!
//! Limits: a file has at most 1 MiB.
//!
//! Not here: who speaks TLS with whom; sockets.

mod certificate;
mod client;
mod files;
mod server;
mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use thiserror::Error;

pub use certificate::Certificate;
pub(crate) use client::{ClientTls, Current};
pub use server::{ServerFiles, ServerTls};
pub(crate) use trust::TlsFailure;

/// Why TLS cannot be set up. It holds no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file holds nothing of what it should.
    #[error("{path} holds no {what} in PEM")]
    Missing {
        /// The file.
        path: String,
        /// What it should hold.
        what: &'static str,
    },
    /// What a file holds cannot be used.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Key and certificate are not of one pair.
    #[error("the key in {key} does not belong to the certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
    },
    /// The system trusts nobody.
    #[error("the system has no certificate authorities{0}")]
    NoSystemRoots(String),
    /// A name that no certificate can be for.
    #[error("{0:?} is neither an IP address nor a DNS name")]
    ServerName(String),
    /// The library refused.
    #[error("set up TLS: {0}")]
    Setup(String),
}

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
