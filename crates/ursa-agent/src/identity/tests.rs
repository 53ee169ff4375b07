//! What Envoy is given.

use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, secret::Type};
use prost::Message as _;

use x509_parser::prelude::FromDer as _;

use super::key::Key;
use super::{port, secret};
use crate::relay::{Own, Verdicts};
use ursa_envoy::resources::{IDENTITY, IDENTITY_NAME};

#[test]
fn a_key_is_given_to_envoy_and_shown_to_nobody() {
    let (key, request) = Key::make().unwrap();
    assert!(!format!("{key:?}").contains("PRIVATE"));
    let (name, item) = secret::identity("CHAIN", &key, "7");
    assert!(!format!("{item:?}").contains("PRIVATE"));
    let given = Secret::decode(item.body.value.as_slice()).unwrap();
    assert_eq!((name, given.name.as_str(), item.version.as_str()), ("identity", "identity", "7"));
    assert!(matches!(given.r#type, Some(Type::TlsCertificate(_))));
    let (_, request) = x509_parser::prelude::X509CertificationRequest::from_der(&request).unwrap();
    request.verify_signature().unwrap();
    assert_eq!(request.certification_request_info.subject.iter().count(), 0);
    assert!(request.requested_extensions().is_none());
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let (port, end) = port();
    let told = |text: &[u8]| {
        let mut verdicts = Verdicts::default();
        port.configure(&Own::from([(IDENTITY, IDENTITY_NAME, text)]), &mut verdicts);
        verdicts.refusal(IDENTITY, IDENTITY_NAME).map(str::to_owned)
    };
    assert_eq!(told(br#"{"backend": "ca-1", "new field": 1}"#), None);
    assert!(told(b"{").unwrap().starts_with("it cannot be read"));
    assert_eq!(end.told.borrow().as_ref().unwrap().backend, "ca-1");
    port.configure(&Own::default(), &mut Verdicts::default());
    assert!(end.told.borrow().is_none());
}
