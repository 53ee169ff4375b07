//! A key pair and the wish for a certificate for it.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// A private key of ECDSA over P-256, in PEM form.
#[derive(Clone)]
pub(crate) struct Key {
    pem: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

impl Key {
    /// A new key, and a signing request for it (PKCS #10, DER). The request names nothing: that is not ours to decide.
    pub(crate) fn make() -> Result<(Self, Vec<u8>), rcgen::Error> {
        let pair = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&pair)?.der().to_vec();
        Ok((Self { pem: pair.serialize_pem() }, request))
    }

    /// The key itself. For Envoy alone.
    pub(crate) fn expose(&self) -> &str {
        &self.pem
    }
}
