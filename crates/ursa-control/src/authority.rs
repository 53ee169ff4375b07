//! The certificate authority of the control plane, made at first start.
//!
//! Agents do not trust it by a file: a token names the SHA-256 of its certificate, so the server
//! sends the authority's certificate behind its own and the agent finds the pinned one there.
//! The server's own key and certificate are made at each start and never touch the disk.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::files::{self, FileError};

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
const YEARS: i64 = 10;

/// Why there is no usable certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Only one of the certificate and the key is there.
    #[error("{missing} is missing beside {present}; put it back, or remove both to start anew")]
    Incomplete {
        /// The file that is there.
        present: &'static str,
        /// The file that is not.
        missing: &'static str,
    },
    /// A file does not hold what it should.
    #[error("{file} does not hold a {wanted} in PEM form")]
    Unreadable {
        /// The file.
        file: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Certificate and key are of different pairs.
    #[error("ca.pem and ca-key.pem do not belong together")]
    Mismatch,
    /// A certificate could not be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// The server's side of TLS could not be set up.
    #[error("set up TLS")]
    Tls(#[from] rustls::Error),
}

/// The authority: it signs the server's certificate, and its fingerprint stands in every token.
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
    fingerprint: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority of a data directory, or makes one there; without a directory, makes one
    /// that lives in memory.
    ///
    /// # Errors
    /// When the files cannot be used or do not belong together. They are never overwritten.
    pub fn open(dir: Option<&Path>, now: Timestamp) -> Result<Self, AuthorityError> {
        let Some(dir) = dir else { return Ok(Self::make(now)?.0) };
        let (certificate, key) = (dir.join(CERTIFICATE), dir.join(KEY));
        match (files::read(&certificate)?, files::read(&key)?) {
            (Some(certificate), Some(key)) => Self::read(&certificate, &key),
            (None, None) => {
                let (authority, pem) = Self::make(now)?;
                files::write(&key, &authority.key.serialize_pem())?;
                files::write(&certificate, &pem)?;
                Ok(authority)
            }
            (Some(_), None) => {
                Err(AuthorityError::Incomplete { present: CERTIFICATE, missing: KEY })
            }
            // The key is written first, so a crash between the two leaves this.
            (None, Some(_)) => {
                Err(AuthorityError::Incomplete { present: KEY, missing: CERTIFICATE })
            }
        }
    }

    fn make(now: Timestamp) -> Result<(Self, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = issuer_params();
        set_lifetime(&mut params, now);
        let made = params.self_signed(&key)?;
        Ok((Self::new(made.der().clone(), key), made.pem()))
    }

    fn read(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(key)
            .map_err(|_| AuthorityError::Unreadable { file: KEY, wanted: "private key" })?;
        let unreadable = || AuthorityError::Unreadable { file: CERTIFICATE, wanted: "certificate" };
        let certificate =
            CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|_| unreadable())?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| unreadable())?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(AuthorityError::Mismatch);
        }
        Ok(Self::new(certificate, key))
    }

    fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate);
        Self { fingerprint: hex(digest.as_ref()), certificate, key }
    }

    /// SHA-256 of the certificate's DER, in lower-case hexadecimal: what tokens pin.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The server's side of TLS, with a fresh certificate for `names` (names or addresses) and
    /// loopback, followed by the authority's own. `alpn` are the protocols offered.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn server(
        &self,
        names: &[String],
        now: Timestamp,
        alpn: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut all = vec![
            "localhost".to_owned(),
            IpAddr::from(Ipv4Addr::LOCALHOST).to_string(),
            IpAddr::from(Ipv6Addr::LOCALHOST).to_string(),
        ];
        for name in names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name.push(DnType::CommonName, "Ursa control plane");
        set_lifetime(&mut params, now);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &Issuer::from_params(&issuer_params(), &self.key))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone(), self.certificate.clone()], key)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// What identifies the authority as an issuer; the same at each start, whatever its dates.
fn issuer_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Ursa certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Valid from the day before, for clocks that are behind, and for ten years.
fn set_lifetime(params: &mut CertificateParams, now: Timestamp) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(YEARS.years()));
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("half a byte is below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
