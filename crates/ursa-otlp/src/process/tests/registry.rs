//! Names that are given here, beside those of the conventions' published registry.

use std::collections::BTreeSet;

use opentelemetry_semantic_conventions::attribute;

use crate::process::envoy::NAMES;

/// What of the registry is used. Its RPC attributes are those up to 1.38: what came after is not stable yet, and
/// backends read these.
const REGISTERED: [&str; 23] = [
    attribute::CLIENT_ADDRESS,
    attribute::ERROR_TYPE,
    attribute::HTTP_REQUEST_BODY_SIZE,
    attribute::HTTP_REQUEST_METHOD,
    attribute::HTTP_REQUEST_METHOD_ORIGINAL,
    attribute::HTTP_REQUEST_RESEND_COUNT,
    attribute::HTTP_RESPONSE_BODY_SIZE,
    attribute::HTTP_RESPONSE_STATUS_CODE,
    attribute::NETWORK_PEER_ADDRESS,
    attribute::NETWORK_PEER_PORT,
    attribute::NETWORK_PROTOCOL_NAME,
    attribute::NETWORK_PROTOCOL_VERSION,
    attribute::RPC_GRPC_STATUS_CODE,
    attribute::RPC_METHOD,
    attribute::RPC_SERVICE,
    attribute::RPC_SYSTEM,
    attribute::SERVER_ADDRESS,
    attribute::SERVER_PORT,
    attribute::URL_FULL,
    attribute::URL_PATH,
    attribute::URL_QUERY,
    attribute::URL_SCHEME,
    attribute::USER_AGENT_ORIGINAL,
];

#[test]
fn names_are_registered_or_envoys() {
    let given = NAMES.iter().map(|name| std::str::from_utf8(name.text).unwrap());
    let (envoys, others): (BTreeSet<_>, BTreeSet<_>) =
        given.partition(|name| name.starts_with("envoy."));
    assert_eq!(others, BTreeSet::from(REGISTERED));
    assert!(!envoys.is_empty());
}
