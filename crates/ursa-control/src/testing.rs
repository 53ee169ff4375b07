//! Snapshots of documents, for tests.

use std::net::SocketAddr;

use jiff::Timestamp;
use ursa_model::ResourceKey;
use ursa_model::document::parse;
use ursa_store::Record;

use crate::backends::built_in;
use crate::generate::Site;
use crate::snapshot::{Change, Snapshots};

/// One zone, with OTLP where it is by default.
pub(crate) fn site() -> Site {
    let otlp = SocketAddr::from(([127, 0, 0, 1], 4317));
    Site { zone: "default".to_owned(), built_in: built_in(otlp, "localhost") }
}

/// As a store would keep it.
pub(crate) fn record(key: ResourceKey, text: &str) -> Record {
    let (created, modified) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    Record { key, version: 1, created, modified, text: text.to_owned(), origin: None }
}

/// The documents of a text as changes of a store.
pub(crate) fn changes(text: &str) -> Vec<Change> {
    let parsed = parse(text, &ursa_policies::kinds());
    assert!(parsed.is_accepted(), "{:#?}", parsed.violations);
    let change = |document: ursa_model::document::Document| {
        let record = record(document.key.clone(), &document.text);
        Change { key: document.key, record: Some(record) }
    };
    parsed.documents.into_iter().map(change).collect()
}

/// The snapshots of a text's documents.
pub(crate) fn snapshots(text: &str) -> Snapshots {
    Snapshots::default().next(&changes(text), &ursa_policies::kinds(), 1).0
}
