//! What Envoy is given by SDS.

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret::Type,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use ursa_envoy::identity::SDS;
use ursa_envoy::proxy::{IDENTITY_SECRET, TRUST_SECRET};

use super::key::Key;
use crate::relay::Item;

/// What Envoy is to be given from now on.
#[derive(Debug)]
pub(crate) enum Secrets {
    /// These, by name.
    Hold(Vec<(&'static str, Item)>),
    /// Nothing, once it asks for none.
    Retire,
}

/// Certificate and key. `version` differs from that of every other.
pub(super) fn identity(chain: &str, key: &Key, version: &str) -> (&'static str, Item) {
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(chain)),
        private_key: Some(inline(key.expose())),
        ..TlsCertificate::default()
    };
    item(IDENTITY_SECRET, Type::TlsCertificate(certificate), version)
}

/// The authorities that are trusted.
pub(super) fn trust(certificates: &[String], version: &str) -> (&'static str, Item) {
    let context = CertificateValidationContext {
        trusted_ca: Some(inline(&certificates.concat())),
        ..CertificateValidationContext::default()
    };
    item(TRUST_SECRET, Type::ValidationContext(context), version)
}

fn inline(pem: &str) -> DataSource {
    let bytes = Specifier::InlineBytes(pem.as_bytes().to_vec());
    DataSource { specifier: Some(bytes), ..DataSource::default() }
}

fn item(name: &'static str, kind: Type, version: &str) -> (&'static str, Item) {
    let secret = Secret { name: name.to_owned(), r#type: Some(kind) };
    let body = Any { type_url: SDS.to_owned(), value: secret.encode_to_vec() };
    (name, Item { version: version.to_owned(), body })
}
