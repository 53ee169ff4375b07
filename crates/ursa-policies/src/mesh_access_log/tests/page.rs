//! `docs/reference/access-log-records.md`: the attributes of records for which a policy names none. A stale page is
//! rewritten, and the test fails once, so that the new one gets read and committed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use opentelemetry_semantic_conventions::attribute;
use ursa_envoy::proxy::Direction;

use super::super::formats::{HTTP_LINE, TCP_LINE, attributes};

/// Those of the conventions' published registry.
const REGISTERED: [&str; 13] = [
    attribute::CLIENT_ADDRESS,
    attribute::HTTP_REQUEST_BODY_SIZE,
    attribute::HTTP_REQUEST_METHOD,
    attribute::HTTP_RESPONSE_BODY_SIZE,
    attribute::HTTP_RESPONSE_STATUS_CODE,
    attribute::NETWORK_PEER_ADDRESS,
    attribute::NETWORK_PEER_PORT,
    attribute::NETWORK_PROTOCOL_VERSION,
    attribute::NETWORK_TRANSPORT,
    attribute::SERVER_ADDRESS,
    attribute::URL_PATH,
    attribute::URL_SCHEME,
    attribute::USER_AGENT_ORIGINAL,
];
/// What requests, and which way.
const LISTENERS: [(&str, bool, Direction); 4] = [
    ("HTTP in", true, Direction::Inbound),
    ("HTTP out", true, Direction::Outbound),
    ("TCP in", false, Direction::Inbound),
    ("TCP out", false, Direction::Outbound),
];

#[test]
fn the_reference_page_is_up_to_date() {
    let mut page = format!(
        "# Access log records\n\nWhat a log record says where a MeshAccessLog's `openTelemetry` backend has no `attributes`, and Envoy's operator \
         behind it. An attribute without a value is left out; numbers are numbers, `server.address` is parted from `server.port`, and \
         `network.protocol.version` has no `HTTP/` before it. Every record has a severity, and the ids of its trace and span if its request is \
         traced. Spans' attributes are [here](semantic-conventions.md).\n\nWithout a `body` or `format` the text is, for HTTP and for TCP:\n\n```text\n{HTTP_LINE}\n{TCP_LINE}\n```\n\n\
         | attribute | is |"
    );
    for (name, _, _) in LISTENERS {
        write!(page, " {name} |").unwrap();
    }
    page.push_str("\n|---|---|---|---|---|---|\n");
    let all: Vec<Vec<_>> =
        LISTENERS.map(|(_, http, direction)| attributes(http, direction).collect()).into();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for row in all.iter().flatten() {
        if !rows.contains(row) {
            rows.push(*row);
        }
    }
    for row in &rows {
        let (name, value) = row;
        write!(page, "| `{name}` | `{value}` |").unwrap();
        for of_listener in &all {
            page.push_str(if of_listener.contains(row) { " yes |" } else { " |" });
        }
        page.push('\n');
    }
    let names = rows.iter().map(|(name, _)| *name);
    let foreign: BTreeSet<_> =
        names.filter(|name| !name.starts_with("envoy.") && !name.starts_with("kuma.")).collect();
    assert_eq!(foreign, BTreeSet::from(REGISTERED));

    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/access-log-records.md");
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&page) {
        std::fs::write(&path, page).unwrap();
        panic!("docs/reference was stale and has been rewritten, read and commit it");
    }
}
