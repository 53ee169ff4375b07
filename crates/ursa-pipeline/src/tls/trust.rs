//! Whether a backend's certificate is accepted, and why a handshake failed, in words.

use std::fmt;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, InvalidMessage, OtherError,
    RootCertStore, SignatureScheme,
};

use super::{Certificate, TlsError, provider};

/// Certificates of a chain that are kept for people.
const MAX_CHAIN: usize = 8;

/// A backend's certificate was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub(crate) struct Untrusted {
    words: String,
    mend: &'static str,
    /// The backend's own certificate first.
    pub(crate) chain: Vec<Certificate>,
}

/// Verifies as `webpki` does, and says what was wrong with which certificate.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None: every certificate of whoever has its key is accepted.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Trusts these authorities; without any, whoever there is.
    pub(super) fn new(roots: Option<Arc<RootCertStore>>) -> Result<Self, TlsError> {
        let provider = provider();
        let webpki = |roots| {
            let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            builder.build().map_err(|error| TlsError::Setup(error.to_string()))
        };
        let webpki = roots.map(webpki).transpose()?;
        Ok(Self { webpki, provider })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(webpki) = &self.webpki else { return Ok(ServerCertVerified::assertion()) };
        let verified =
            webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            Error::InvalidCertificate(error) => {
                let chain = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
                let chain = chain.filter_map(Certificate::of).collect();
                let untrusted = Untrusted::new(&error, server_name, chain, now);
                let other = OtherError(Arc::new(untrusted));
                Error::InvalidCertificate(CertificateError::Other(other))
            }
            other => other,
        })
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

impl Untrusted {
    fn new(
        error: &CertificateError,
        expected: &ServerName<'_>,
        chain: Vec<Certificate>,
        now: UnixTime,
    ) -> Self {
        let (words, mend) = verdict(error, &expected.to_str(), &chain, now);
        Self { words, mend, chain }
    }
}

/// What is wrong with the certificates, and what to do.
fn verdict(
    error: &CertificateError,
    expected: &str,
    chain: &[Certificate],
    now: UnixTime,
) -> (String, &'static str) {
    let now = i64::try_from(now.as_secs()).ok().and_then(|now| Timestamp::from_second(now).ok());
    let now = now.unwrap_or_default();
    let title = |certificate: Option<&Certificate>| {
        certificate.map_or_else(
            || "the certificate".to_owned(),
            |one| format!("the certificate {:?}", one.title()),
        )
    };
    let own = chain.first();
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let expired = chain.iter().find(|one| one.not_after < now);
            let since = expired.map(|one| format!(" since {}", one.not_after)).unwrap_or_default();
            (
                format!("{} is expired{since}", title(expired)),
                "renew the backend's certificate; if it is new, set this host's clock",
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let early = chain.iter().find(|one| one.not_before > now);
            let until = early.map(|one| format!(" before {}", one.not_before)).unwrap_or_default();
            (format!("{} is not valid{until}", title(early)), "set this host's clock")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            let names = own.map(|one| one.names.join(", ")).filter(|names| !names.is_empty());
            let names = names.unwrap_or_else(|| "none".to_owned());
            (
                format!("{} is not for {expected:?}; names it has: {names}", title(own)),
                "use one of its names in `endpoint` or in `tls.serverName`",
            )
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let last = chain.last();
            let issuer = last.map_or("", |one| &one.issuer);
            let words = if own.is_some_and(|one| one.subject == one.issuer) {
                format!("{} is signed by itself", title(own))
            } else {
                format!("{} is signed by {issuer:?}, an authority that is not trusted", title(last))
            };
            (words, "give the authority's certificate as `tls.ca`")
        }
        CertificateError::Revoked => {
            (format!("{} is revoked", title(own)), "renew the backend's certificate")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            format!("{} is not for servers", title(own)),
            "the backend's certificate needs the extended key usage `serverAuth`",
        ),
        error => (
            format!("{} is not accepted: {error}", title(own)),
            "look at the backend's certificate",
        ),
    }
}

/// Why there is no TLS with a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFailure {
    pub(crate) words: String,
    pub(crate) mend: &'static str,
    /// What the peer showed, if that was not accepted.
    pub(crate) chain: Vec<Certificate>,
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl TlsFailure {
    /// What a connection's error says of TLS, if that is where it comes from. `shown` tells whether
    /// a certificate of ours was shown.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static), shown: bool) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<Error>() {
                return Some(Self::of_rustls(error, shown));
            }
            // An `io::Error` is no source of its own cause.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    /// What an error of TLS says.
    pub(crate) fn of_rustls(error: &Error, shown: bool) -> Self {
        let say = |words: String, mend| Self { words, mend, chain: Vec::new() };
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                match other.0.downcast_ref::<Untrusted>() {
                    Some(untrusted) => Self {
                        words: untrusted.words.clone(),
                        mend: untrusted.mend,
                        chain: untrusted.chain.clone(),
                    },
                    None => say(error.to_string(), "look at the backend's certificate"),
                }
            }
            Error::AlertReceived(alert) => Self::of_alert(*alert, shown),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => say(
                "it does not speak TLS on this port".to_owned(),
                "write `http://` in the endpoint or leave `tls` out, or use the port for TLS",
            ),
            Error::NoApplicationProtocol => {
                Self::of_alert(AlertDescription::NoApplicationProtocol, shown)
            }
            Error::PeerIncompatible(why) => say(
                format!("no TLS version or cipher in common: {why:?}"),
                "let the backend speak TLS 1.2 or 1.3",
            ),
            error => say(error.to_string(), "look at the backend's TLS settings"),
        }
    }

    fn of_alert(alert: AlertDescription, shown: bool) -> Self {
        let (words, mend) = match alert {
            AlertDescription::CertificateRequired => {
                ("it wants a client certificate", "give one as `tls.cert` and `tls.key`")
            }
            AlertDescription::BadCertificate | AlertDescription::HandshakeFailure if !shown => (
                "it refused the handshake; it may want a client certificate",
                "give one as `tls.cert` and `tls.key`",
            ),
            AlertDescription::UnknownCA => (
                "it does not trust the authority of our client certificate",
                "show it a certificate (`tls.cert`) of an authority that it trusts",
            ),
            AlertDescription::CertificateExpired => {
                ("our client certificate is expired", "renew the certificate in `tls.cert`")
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
                if shown =>
            {
                (
                    "it did not accept our client certificate",
                    "look at `tls.cert`, and at what the backend trusts",
                )
            }
            AlertDescription::UnrecognisedName => (
                "it knows no server of that name",
                "set `tls.serverName` to the name that its certificate has",
            ),
            AlertDescription::NoApplicationProtocol => (
                "it does not speak HTTP/2 on this port",
                "set `protocol: https`, or use the port for gRPC",
            ),
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                ("no TLS version or cipher in common", "let the backend speak TLS 1.2 or 1.3")
            }
            other => {
                let words = format!("it ended the TLS handshake: {other:?}");
                return Self { words, mend: "look at the backend's log", chain: Vec::new() };
            }
        };
        Self { words: words.to_owned(), mend, chain: Vec::new() }
    }
}
