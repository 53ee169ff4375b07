//! TLS towards the control plane: trust in exactly one certificate authority, named by its hash.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

/// The server sent no certificate with the hash that the token names.
#[derive(Debug, thiserror::Error)]
#[error(
    "the control plane does not have the certificate authority that the token names \
     (another control plane, or a new one since; make a new token there)"
)]
pub(crate) struct OtherAuthority;

/// Why a server's certificate was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    /// See [`OtherAuthority`].
    #[error(transparent)]
    OtherAuthority(#[from] OtherAuthority),
    /// It is not for this name, not of this time, or not signed by the authority.
    #[error(transparent)]
    Certificate(rustls::Error),
}

impl Untrusted {
    /// What a failed handshake says of the certificate, if it failed for that.
    pub(crate) fn of(error: &std::io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(error)))
                if error.is::<OtherAuthority>() =>
            {
                Some(OtherAuthority.into())
            }
            error @ Error::InvalidCertificate(_) => Some(Self::Certificate(error.clone())),
            _ => None,
        }
    }
}

/// The client's side of TLS, trusting the authority whose certificate has this SHA-256.
pub(crate) fn client(authority: [u8; 32]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Pinned { authority, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Finds the authority among the certificates that the server sends, and verifies the server's own
/// against it, with its name and dates, as ever.
#[derive(Debug)]
struct Pinned {
    authority: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|certificate| {
            digest::digest(&digest::SHA256, certificate).as_ref() == self.authority.as_slice()
        });
        let pinned = pinned.ok_or_else(|| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(OtherAuthority))))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// What comes of a server `name` that shows a certificate of `signer` and then `shown`.
    fn outcome(
        pinned: &CertificateDer<'static>,
        signer: &CertifiedIssuer<'static, KeyPair>,
        shown: &CertificateDer<'static>,
        name: &str,
    ) -> Result<(), Error> {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["cp.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, signer).unwrap();
        let hash = digest::digest(&digest::SHA256, pinned);
        let verifier = Pinned {
            authority: hash.as_ref().try_into().unwrap(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let shown = [shown.clone()];
        verifier.verify_server_cert(leaf.der(), &shown, &name, &[], UnixTime::now()).map(|_| ())
    }

    #[test]
    fn only_the_pinned_authority_and_the_right_name_are_trusted() {
        let (ours, theirs) = (authority(), authority());
        assert_eq!(outcome(ours.der(), &ours, ours.der(), "cp.example"), Ok(()));
        let invalid = |outcome| match outcome {
            Err(Error::InvalidCertificate(error)) => error,
            other => panic!("{other:?}"),
        };
        // The right authority is shown, but the server's certificate is not its own.
        let forged = invalid(outcome(ours.der(), &theirs, ours.der(), "cp.example"));
        assert_eq!(forged, CertificateError::BadSignature);
        let name = invalid(outcome(ours.der(), &ours, ours.der(), "other.example"));
        assert!(matches!(name, CertificateError::NotValidForNameContext { .. }), "{name:?}");
        let other = invalid(outcome(ours.der(), &theirs, theirs.der(), "cp.example"));
        assert!(matches!(other, CertificateError::Other(_)), "{other:?}");
    }
}
