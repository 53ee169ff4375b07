//! Which endpoints have which tags, as Envoy gets to know it: in the metadata by which endpoints are chosen.
//!
//! Of a set of tags it is one text, and an endpoint has a list of those that it has all of. Were it one entry for each tag, their order would be
//! chance, and so would be the bytes.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value::Kind};

/// Where Envoy looks.
const FILTER: &str = "envoy.lb";
/// The entry with the sets.
const ENTRY: &str = "tags";

/// A set of tags: `env=prod,version=v1`.
pub(crate) fn text(tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    tags.join(",")
}

/// Of an endpoint that has all tags of these sets.
pub(crate) fn metadata(sets: Vec<String>) -> Metadata {
    let values = sets.into_iter().map(value).collect();
    of(Value { kind: Some(Kind::ListValue(ListValue { values })) })
}

/// What is asked of an endpoint that has all tags of the set; any item of its list may match.
pub(crate) fn matching(tags: &BTreeMap<String, String>) -> Metadata {
    of(value(text(tags)))
}

fn value(text: String) -> Value {
    Value { kind: Some(Kind::StringValue(text)) }
}

fn of(value: Value) -> Metadata {
    let fields = [(ENTRY.to_owned(), value)].into();
    let filter_metadata = [(FILTER.to_owned(), Struct { fields })].into();
    Metadata { filter_metadata, ..Metadata::default() }
}
