//! One authority of a mesh: it signs the proxies' certificates.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ursa_envoy::identity::{Issued, MAX_REQUEST};
use ursa_model::identity::Validity;
use ursa_model::mesh::AuthorityBackend;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::hex;

/// Certificates are valid from so long before they are made, for clocks that are behind.
const CLOCK_SKEW: Duration = Duration::from_mins(1);
/// Certificates in the file of a provided authority.
const MAX_CHAIN: usize = 8;
/// Bytes of a serial number, of which the first bit is 0 (RFC 5280, 4.1.2.2).
const SERIAL_BYTES: usize = 16;

/// Why an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("its certificate is not one in PEM form")]
    Certificate,
    #[error("its key is not a private key in PEM form")]
    Key,
    #[error("its certificate and its key do not belong together")]
    Mismatch,
    #[error("its certificate is not one of an authority (basic constraints, key usage)")]
    NotAnAuthority,
    #[error("it has more than {MAX_CHAIN} certificates")]
    TooMany,
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
}

/// Why a certificate is not issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotIssued {
    #[error("what was sent is not a signing request for a key of ECDSA over P-256")]
    Request,
    #[error("the authority expired at {at}")]
    Expired { at: Timestamp },
    #[error("sign a certificate")]
    Sign(#[from] rcgen::Error),
    #[error("the system gives no random bytes")]
    Randomness,
}

/// An authority with its key.
pub(crate) struct MeshAuthority {
    issuer: Issuer<'static, KeyPair>,
    /// As it is trusted: in PEM form, with what follows it.
    certificates: String,
    /// What is sent behind a certificate: nothing where the authority is a root.
    chain: String,
    subject: String,
    validity: Validity,
}

/// Without the key.
impl std::fmt::Debug for MeshAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshAuthority")
            .field("subject", &self.subject)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// A new authority in PEM form: certificate and key.
pub(crate) fn make(
    mesh: &str,
    backend: &AuthorityBackend,
    now: Timestamp,
) -> Result<(String, String), Unusable> {
    let key = match backend.rsa_bits() {
        None => KeyPair::generate()?,
        Some(bits) => KeyPair::generate_rsa_for(
            &PKCS_RSA_SHA256,
            match bits {
                4096 => RsaKeySize::_4096,
                3072 => RsaKeySize::_3072,
                _ => RsaKeySize::_2048,
            },
        )?,
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Ursa");
    params.distinguished_name.push(DnType::CommonName, format!("{mesh} {}", backend.name));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{mesh}").try_into()?)];
    set_validity(&mut params, validity(backend.authority_lifetime().get(), now));
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

impl MeshAuthority {
    /// Reads an authority from PEM: the first certificate is its own.
    pub(crate) fn read(certificates: &[u8], key: &[u8]) -> Result<Self, Unusable> {
        let all: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .take(MAX_CHAIN + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::Certificate)?;
        if all.len() > MAX_CHAIN {
            return Err(Unusable::TooMany);
        }
        let own = all.first().ok_or(Unusable::Certificate)?;
        let key = str::from_utf8(key).map_err(|_| Unusable::Key)?;
        let key = KeyPair::from_pem(key).map_err(|_| Unusable::Key)?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| Unusable::Certificate)?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.der_bytes() {
            return Err(Unusable::Mismatch);
        }
        let usage = parsed.key_usage().map_err(|_| Unusable::Certificate)?;
        if !parsed.is_ca() || usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(Unusable::NotAnAuthority);
        }
        let is_root = parsed.subject() == parsed.issuer();
        let subject = parsed.subject().to_string();
        let (not_before, not_after) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let chain = if is_root { String::new() } else { all.iter().map(|it| pem(it)).collect() };
        let trusted = all.iter().map(|it| pem(it)).collect();
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(own, key)?,
            certificates: trusted,
            chain,
            subject,
            validity: Validity { not_before, not_after },
        })
    }

    /// Its certificates in PEM form.
    pub(crate) fn certificates(&self) -> &str {
        &self.certificates
    }

    /// When it is valid.
    pub(crate) fn validity(&self) -> Validity {
        self.validity
    }

    /// A certificate with `names` for the key of `request`; of the request nothing else counts.
    pub(crate) fn issue(
        &self,
        request: &[u8],
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, NotIssued> {
        let key = public_key(request).ok_or(NotIssued::Request)?;
        if self.validity.not_after <= now.as_second() {
            let at = Timestamp::from_second(self.validity.not_after).unwrap_or(now);
            return Err(NotIssued::Expired { at });
        }
        let mut validity = validity(lifetime, now);
        validity.not_before = validity.not_before.max(self.validity.not_before);
        validity.not_after = validity.not_after.min(self.validity.not_after);
        let mut serial = [0; SERIAL_BYTES];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| NotIssued::Randomness)?;
        // Positive, and as long as it looks.
        serial[0] = serial[0] & 0x3f | 0x40;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        for name in names {
            params.subject_alt_names.push(SanType::URI(name.as_str().try_into()?));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            chain: certificate.pem() + &self.chain,
            backend: String::new(),
            names: names.to_vec(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            serial: hex(&serial),
            issuer: self.subject.clone(),
        })
    }
}

/// The key of a request that its holder signed.
fn public_key(request: &[u8]) -> Option<SubjectPublicKeyInfo> {
    if request.len() > MAX_REQUEST {
        return None;
    }
    let (rest, request) = X509CertificationRequest::from_der(request).ok()?;
    let key = &request.certification_request_info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
    // Others would only cost more to look at.
    let is_p256 =
        key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256);
    if !rest.is_empty() || !is_p256 || request.verify_signature().is_err() {
        return None;
    }
    SubjectPublicKeyInfo::from_der(key.raw).ok()
}

fn validity(lifetime: Duration, now: Timestamp) -> Validity {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let now = now.as_second();
    Validity {
        not_before: now.saturating_sub(seconds(CLOCK_SKEW)),
        not_after: now.saturating_add(seconds(lifetime)),
    }
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let at = |seconds: i64| {
        let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        date_time_ymd(1970, 1, 1) + since
    };
    params.not_before = at(validity.not_before);
    params.not_after = at(validity.not_after);
}

/// A certificate in PEM form (RFC 7468).
fn pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    const WIDTH: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(WIDTH).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use ursa_model::mesh::Mtls;

    fn backend(conf: &str) -> AuthorityBackend {
        let backend = format!(r#"{{"backends": [{{"name": "ca-1", "type": "builtin"{conf}}}]}}"#);
        serde_json::from_str::<Mtls>(&backend).unwrap().backends.remove(0)
    }

    fn csr(key: &KeyPair) -> Vec<u8> {
        CertificateParams::new(vec!["evil.example".to_owned()])
            .unwrap()
            .serialize_request(key)
            .unwrap()
            .der()
            .to_vec()
    }

    fn authority(conf: &str) -> MeshAuthority {
        let (certificate, key) = make("default", &backend(conf), Timestamp::now()).unwrap();
        MeshAuthority::read(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_certificate_has_the_names_that_are_decided_here_and_no_other() {
        for conf in ["", r#", "conf": {"caCert": {"rsaBits": 2048}}"#] {
            let authority = authority(conf);
            let key = KeyPair::generate().unwrap();
            let names = ["spiffe://default/web".to_owned(), "kuma://version/v1".to_owned()];
            let now = Timestamp::now();
            let issued = authority.issue(&csr(&key), &names, DAY, now).unwrap();
            let der = CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap();
            let (_, leaf) = X509Certificate::from_der(&der).unwrap();
            let alternatives = leaf.subject_alternative_name().unwrap().unwrap();
            let found = alternatives.value.general_names.iter().map(|name| match name {
                x509_parser::extensions::GeneralName::URI(uri) => (*uri).to_owned(),
                other => other.to_string(),
            });
            assert_eq!(found.collect::<Vec<_>>(), names);
            assert_eq!(leaf.public_key().subject_public_key.data.as_ref(), key.der_bytes());
            assert_eq!(leaf.validity().not_after.timestamp(), now.as_second() + 86_400);
            assert_eq!(leaf.raw_serial_as_string().replace(':', ""), issued.serial);
            assert!(!leaf.is_ca());
            let own = CertificateDer::from_pem_slice(authority.certificates().as_bytes()).unwrap();
            let (_, own) = X509Certificate::from_der(&own).unwrap();
            leaf.verify_signature(Some(own.public_key())).unwrap();
        }
    }

    #[test]
    fn a_request_is_of_p256_and_signed_by_its_key() {
        let authority = authority("");
        let refused = |request: &[u8]| {
            let issued = authority.issue(request, &[], DAY, Timestamp::now());
            matches!(issued, Err(NotIssued::Request))
        };
        let good = csr(&KeyPair::generate().unwrap());
        assert!(!refused(&good));
        for other in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256] {
            assert!(refused(&csr(&KeyPair::generate_for(other).unwrap())));
        }
        // Every byte that is signed.
        let (_, parsed) = X509CertificationRequest::from_der(&good).unwrap();
        let signed = parsed.certification_request_info.raw;
        let begin = good.windows(signed.len()).position(|part| part == signed).unwrap();
        for at in begin..begin + signed.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(refused(&changed), "byte {at}");
        }
        assert!(refused(&[]));
        assert!(refused(&[&good[..], b"x"].concat()));
        assert!(refused(&vec![0x30; MAX_REQUEST + 1]));
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let authority = authority(r#", "conf": {"caCert": {"expiration": "1h"}}"#);
        let request = csr(&KeyPair::generate().unwrap());
        let issued = authority.issue(&request, &[], DAY, Timestamp::now()).unwrap();
        assert_eq!(issued.not_after, authority.validity().not_after);
        let late = Timestamp::from_second(authority.validity().not_after).unwrap();
        let late = authority.issue(&request, &[], DAY, late);
        assert!(matches!(late, Err(NotIssued::Expired { .. })));
    }

    #[test]
    fn what_is_no_authority_is_not_used() {
        let now = Timestamp::now();
        let (certificate, key) = make("default", &backend(""), now).unwrap();
        let (_, other) = make("default", &backend(""), now).unwrap();
        let why = |certificate: &str, key: &str| {
            MeshAuthority::read(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(why(&certificate, &other), Unusable::Mismatch.to_string());
        assert_eq!(why("", &key), Unusable::Certificate.to_string());
        assert_eq!(why(&certificate, ""), Unusable::Key.to_string());
        assert_eq!(why(&certificate.repeat(MAX_CHAIN + 1), &key), Unusable::TooMany.to_string());
        let pair = KeyPair::generate().unwrap();
        let leaf = CertificateParams::default().self_signed(&pair).unwrap();
        let leaf = why(&leaf.pem(), &pair.serialize_pem());
        assert_eq!(leaf, Unusable::NotAnAuthority.to_string());
    }
}
