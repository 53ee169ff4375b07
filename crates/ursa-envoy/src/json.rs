//! Envoy's messages as JSON and back, by the descriptors that `cargo xtask generate` keeps in
//! `descriptors.bin`.
//!
//! Field names and their order are those of the `.proto` files, as in Envoy's documentation. An `Any` is shown with
//! its content, however deep; one whose type the descriptors lack is shown as
//! `{"@type": …, "value": <base64>}`, so nothing is ever hidden by not being known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, SerializeOptions, Value,
};
use serde_json::{Map, Value as Json, json};

use crate::credentials::{REDACTED, redact};
use crate::resources::{IDENTITY, PIPELINE, SECRET};

/// How deep `Any`s may be nested before the rest is shown as base64.
const MAX_DEPTH: usize = 32;

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!("../descriptors.bin").as_slice())
        .expect("the descriptors are generated, checked in and tested")
});

/// Why JSON is not a message.
#[derive(Debug, thiserror::Error)]
pub enum FromJsonError {
    /// The descriptors lack the type.
    #[error("unknown type `{0}`")]
    UnknownType(String),
    /// The JSON does not have the type's form.
    #[error("read `{type_url}` from JSON")]
    Form {
        /// The type it should have been.
        type_url: String,
        /// What differs, and where.
        #[source]
        source: serde_json::Error,
    },
}

/// The message of type `type_url` in `value`, as JSON. Never fails: what cannot be decoded is shown
/// as base64. Of the agent's own types, the pipeline is shown without the credentials that stand in
/// it in clear, and a secret not at all.
pub fn to_json(type_url: &str, value: &[u8]) -> Json {
    match type_url {
        PIPELINE => pipeline(value),
        IDENTITY => serde_json::from_slice(value).unwrap_or_else(|_| opaque(type_url, value)),
        SECRET => json!({ "@type": type_url, "value": REDACTED }),
        _ => decoded(type_url, value, 0).map_or_else(|| opaque(type_url, value), Json::Object),
    }
}

/// A message as JSON.
pub fn message_to_json<M: Message + Name>(message: &M) -> Json {
    to_json(&M::type_url(), &message.encode_to_vec())
}

/// The wire form of a message of type `type_url` that is written as JSON. Takes both
/// spellings of field names, as Envoy does.
///
/// # Errors
/// When the type, or that of an `Any` inside, is not in the descriptors, or the form differs.
pub fn from_json(type_url: &str, json: &Json) -> Result<Vec<u8>, FromJsonError> {
    let descriptor =
        descriptor(type_url).ok_or_else(|| FromJsonError::UnknownType(type_url.to_owned()))?;
    DynamicMessage::deserialize(descriptor, json)
        .map(|message| message.encode_to_vec())
        .map_err(|source| FromJsonError::Form { type_url: type_url.to_owned(), source })
}

fn descriptor(type_url: &str) -> Option<MessageDescriptor> {
    let name = type_url.rsplit('/').next()?;
    POOL.get_message_by_name(name)
}

fn pipeline(value: &[u8]) -> Json {
    let Ok(mut pipeline) = serde_json::from_slice(value) else {
        return json!({ "@type": PIPELINE, "value": REDACTED });
    };
    redact(&mut pipeline);
    pipeline
}

fn opaque(type_url: &str, value: &[u8]) -> Json {
    json!({ "@type": type_url, "value": BASE64_STANDARD.encode(value) })
}

fn decoded(type_url: &str, value: &[u8], depth: usize) -> Option<Map<String, Json>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let message = DynamicMessage::decode(descriptor(type_url)?, value).ok()?;
    match message_json(&message, depth) {
        Json::Object(object) => Some(object),
        // A well-known type with a JSON form of its own.
        other => Some(Map::from_iter([("value".to_owned(), other)])),
    }
}

fn message_json(message: &DynamicMessage, depth: usize) -> Json {
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        "google.protobuf.Any" => any_json(message, depth),
        name if name.starts_with("google.protobuf.") => message
            .serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
            .map_or_else(|_| opaque(name, &message.encode_to_vec()), sorted),
        _ => message
            .fields()
            .map(|(field, value)| {
                (field.name().to_owned(), value_json(value, &field.kind(), Some(&field), depth))
            })
            .collect::<Map<_, _>>()
            .into(),
    }
}

fn any_json(message: &DynamicMessage, depth: usize) -> Json {
    let Ok(any) = message.transcode_to::<prost_types::Any>() else {
        return Json::Null;
    };
    match decoded(&any.type_url, &any.value, depth.saturating_add(1)) {
        Some(object) => {
            let mut typed = Map::from_iter([("@type".to_owned(), any.type_url.into())]);
            typed.extend(object);
            typed.into()
        }
        None => opaque(&any.type_url, &any.value),
    }
}

fn value_json(value: &Value, kind: &Kind, field: Option<&FieldDescriptor>, depth: usize) -> Json {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::I32(number) => (*number).into(),
        Value::U32(number) => (*number).into(),
        // JSON numbers are exact to 53 bits only, so protobuf writes 64-bit ones as text.
        Value::I64(number) => number.to_string().into(),
        Value::U64(number) => number.to_string().into(),
        Value::F32(number) => float_json(f64::from(*number)),
        Value::F64(number) => float_json(*number),
        Value::String(text) => text.as_str().into(),
        Value::Bytes(bytes) => BASE64_STANDARD.encode(bytes).into(),
        Value::EnumNumber(number) => kind
            .as_enum()
            .and_then(|kind| kind.get_value(*number))
            .map_or_else(|| (*number).into(), |value| value.name().into()),
        Value::Message(message) => message_json(message, depth),
        Value::List(items) => {
            items.iter().map(|item| value_json(item, kind, None, depth)).collect()
        }
        Value::Map(entries) => {
            let values = field.and_then(|field| {
                field.kind().as_message().map(MessageDescriptor::map_entry_value_field)
            });
            let kind = values.map_or_else(|| kind.clone(), |values| values.kind());
            let entries: BTreeMap<String, Json> = entries
                .iter()
                .map(|(key, value)| (key_text(key), value_json(value, &kind, None, depth)))
                .collect();
            entries.into_iter().collect()
        }
    }
}

/// A `Struct` is a map, whose order is chance.
fn sorted(mut json: Json) -> Json {
    json.sort_all_objects();
    json
}

/// JSON has no word for what is not finite; protobuf writes it as text.
fn float_json(number: f64) -> Json {
    serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Json::Number)
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(flag) => flag.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}
