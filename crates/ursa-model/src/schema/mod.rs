//! Checking a tree against the JSON Schema of its type, with every violation at its place.
//!
//! It knows what schemars makes of our types, not all of JSON Schema. Objects are closed unless they say otherwise: an unknown field is an error. A
//! `null` field is an unset one. The formats `percent`, `duration`, `lifetime` and `byte-size` are ours.

pub mod published;
mod stand_ins;
mod tagged;

use schemars::Schema;
use serde_json::Value as Json;

pub(crate) use self::stand_ins::fill_in;
use crate::duration::{Duration, DurationError};
use crate::mesh::{Lifetime, LifetimeError};
use crate::percent::{Percent, PercentError};
use crate::report::{Cursor, Report};
use crate::size::{ByteSize, ByteSizeError};
use crate::suggest;
use crate::tree::{Map, Node, Value};

/// Reports every unknown field, wrong type, missing field, unknown name and number out of range. The cursor stands on `node`.
pub fn check(node: &Node, schema: &Schema, cursor: &Cursor<'_>) {
    Checker { root: schema.as_value() }.value(node, schema.as_value(), cursor);
}

struct Checker<'s> {
    root: &'s Json,
}

impl<'s> Checker<'s> {
    /// The schema itself, where it is a reference.
    fn resolve(&self, schema: &'s Json) -> &'s Json {
        let mut schema = schema;
        while let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let Some(target) =
                reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer))
            else {
                break;
            };
            schema = target;
        }
        schema
    }

    fn value(&self, node: &Node, schema: &'s Json, cursor: &Cursor<'_>) {
        if cursor.is_full() {
            return;
        }
        let schema = self.resolve(schema);
        if let Some(parts) = schema.get("allOf").and_then(Json::as_array) {
            for part in parts {
                self.value(node, part, cursor);
            }
        }
        let alternatives =
            schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
        if let Some(alternatives) = alternatives {
            return self.alternatives(node, alternatives, schema, cursor);
        }
        let names = names(schema);
        if !names.is_empty() {
            return one_of(node, &names, schema, cursor);
        }
        if let Some(reads) = schema.get("format").and_then(Json::as_str).and_then(format) {
            if let Err(message) = reads(node) {
                cursor.refuse(message);
            }
            return;
        }
        let types = self.types(schema);
        if !types.is_empty() && !types.iter().any(|name| fits(node, name)) {
            return wrong_type(node, &types, cursor);
        }
        match &node.value {
            Value::Map(map) => self.fields(map, schema, cursor),
            Value::List(items) => {
                if let Some(schema) = schema.get("items") {
                    let items = items.iter().enumerate();
                    items.for_each(|(index, item)| self.value(item, schema, &cursor.index(index)));
                }
            }
            Value::Number(number) => range(number, schema, cursor),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn fields(&self, map: &Map, schema: &'s Json, cursor: &Cursor<'_>) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let additional = schema.get("additionalProperties");
        let closed = match additional {
            Some(additional) => additional == &Json::Bool(false),
            None => properties.is_some(),
        };
        let known = |key: &str| properties.and_then(|properties| properties.get(key));
        let mut strayed = Vec::new();
        for entry in map {
            if cursor.is_full() {
                return;
            }
            let cursor = cursor.key(&entry.key);
            match (known(&entry.key), additional) {
                _ if entry.node.is_null() && (!closed || known(&entry.key).is_some()) => {}
                (Some(schema), _) => self.value(&entry.node, schema, &cursor),
                (None, Some(schema)) if !closed => self.value(&entry.node, schema, &cursor),
                (None, _) if closed => match self.strayed_from(&entry.key, map, schema) {
                    Some(parent) => {
                        strayed.push(parent);
                        refuse_strayed(&entry.key, parent, &cursor);
                    }
                    None => {
                        let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
                        refuse_unknown(&entry.key, names, map, &cursor);
                    }
                },
                (None, _) => {}
            }
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for field in required.filter_map(Json::as_str) {
            let unset = map.get(field).is_none_or(Node::is_null);
            if unset && !strayed.contains(&field) {
                cursor.key(field).refuse("is missing");
            }
        }
    }

    /// The empty neighbour that `key` would be a field of, were it indented.
    fn strayed_from<'m>(&self, key: &str, map: &'m Map, schema: &'s Json) -> Option<&'m str> {
        let empty = map.iter().filter(|entry| entry.node.is_null());
        let has_field =
            |parent: &&str| self.properties(schema.get("properties")?.get(parent)?)?.get(key);
        empty.map(|entry| entry.key.as_str()).find(|parent| has_field(parent).is_some())
    }

    /// The fields of an object, also behind a reference or beside `null`.
    fn properties(&self, schema: &'s Json) -> Option<&'s serde_json::Map<String, Json>> {
        let schema = self.resolve(schema);
        let alternatives = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
        let own = schema.get("properties").and_then(Json::as_object);
        own.or_else(|| {
            alternatives.into_iter().find_map(|alternative| self.properties(alternative))
        })
    }

    /// The types that a value may have; empty: any.
    fn types(&self, schema: &'s Json) -> Vec<&'s str> {
        let schema = self.resolve(schema);
        match schema.get("type") {
            Some(Json::String(name)) => vec![name],
            Some(Json::Array(names)) => {
                names.iter().filter_map(Json::as_str).filter(|name| *name != "null").collect()
            }
            _ if !names(schema).is_empty() => vec!["string"],
            _ => Vec::new(),
        }
    }

    /// The alternatives are those of `schema`.
    fn alternatives(
        &self,
        node: &Node,
        alternatives: &'s [Json],
        schema: &'s Json,
        cursor: &Cursor<'_>,
    ) {
        let alternatives: Vec<_> = alternatives
            .iter()
            .map(|schema| self.resolve(schema))
            .filter(|schema| self.types(schema) != ["null"])
            .collect();
        if let [only] = alternatives.as_slice() {
            return self.value(node, only, cursor);
        }
        let all_names: Vec<_> = alternatives.iter().map(|schema| names(schema)).collect();
        if all_names.iter().all(|names| !names.is_empty()) && !all_names.is_empty() {
            return one_of(node, &all_names.concat(), schema, cursor);
        }
        if let Some(kinds) = tagged::kinds(&alternatives) {
            return self.one_kind(node, &kinds, cursor);
        }
        let fitting: Vec<_> = alternatives
            .iter()
            .filter(|schema| {
                let types = self.types(schema);
                types.is_empty() || types.iter().any(|name| fits(node, name))
            })
            .collect();
        match fitting.as_slice() {
            [] => {
                let types: Vec<_> =
                    alternatives.iter().flat_map(|schema| self.types(schema)).collect();
                wrong_type(node, &types, cursor);
            }
            [only] => self.value(node, only, cursor),
            several => {
                let faults = |schema: &&&'s Json| {
                    let report = Report::new(node);
                    self.value(node, schema, &report.cursor());
                    report.finish().len()
                };
                if let Some(best) = several.iter().min_by_key(|schema| faults(schema)) {
                    self.value(node, best, cursor);
                }
            }
        }
    }
}

/// The texts that an enumeration allows.
fn names(schema: &Json) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    listed.chain(schema.get("const")).filter_map(Json::as_str).collect()
}

/// What people write in place of the names that an enumeration allows, and which of them they mean.
fn meant(schema: &Json) -> impl Iterator<Item = (&str, &str)> {
    let by_name = schema.get("x-meant").and_then(Json::as_object).into_iter().flatten();
    by_name.flat_map(|(name, others)| {
        let others = others.as_array().into_iter().flatten().filter_map(Json::as_str);
        others.map(move |other| (other, name.as_str()))
    })
}

/// Reports a text that is none of the names, which `schema` allows, and the one that is probably meant.
fn one_of(node: &Node, names: &[&str], schema: &Json, cursor: &Cursor<'_>) {
    let Some(text) = node.as_str() else { return wrong_type(node, &["string"], cursor) };
    if names.contains(&text) {
        return;
    }
    let message = format!("`{text}` is not one of {}", names.join(", "));
    let known: Vec<_> = names.iter().map(|name| (*name, *name)).chain(meant(schema)).collect();
    let nearest = suggest::nearest(text, known.iter().map(|(written, _)| *written));
    let meant = known.iter().find(|(written, _)| Some(*written) == nearest);
    match meant.map(|(_, name)| name) {
        Some(nearest) => cursor.refuse_with_hint(message, format!("did you mean `{nearest}`?")),
        None => cursor.refuse(message),
    }
}

/// Reports a field that does not exist in `map`, and the nearest that does.
pub(crate) fn refuse_unknown<'a>(
    key: &str,
    known: impl IntoIterator<Item = &'a str>,
    map: &Map,
    cursor: &Cursor<'_>,
) {
    let message = format!("unknown field `{key}`");
    let (held, free): (Vec<_>, Vec<_>) = known.into_iter().partition(|name| map.contains(name));
    if let Some(nearest) = suggest::nearest(key, free) {
        cursor.refuse_with_hint(message, format!("did you mean `{nearest}`?"));
    } else if let Some(nearest) = suggest::nearest(key, held) {
        cursor.refuse_with_hint(
            message,
            format!("did you mean `{nearest}`, which is there already?"),
        );
    } else {
        cursor.refuse(message);
    }
}

/// Reports a field that belongs into its empty neighbour.
pub(crate) fn refuse_strayed(key: &str, parent: &str, cursor: &Cursor<'_>) {
    cursor
        .refuse(format!("`{key}` stands beside `{parent}`, not inside it; indent it by two more"));
}

/// Whether the value is of a type of JSON Schema.
fn fits(node: &Node, name: &str) -> bool {
    match &node.value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => name == "number" || (name == "integer" && !number.is_f64()),
        Value::String(_) => name == "string",
        Value::List(_) => name == "array",
        Value::Map(_) => name == "object",
    }
}

fn wrong_type(node: &Node, types: &[&str], cursor: &Cursor<'_>) {
    let mut words: Vec<_> = types
        .iter()
        .map(|name| match *name {
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "a string",
            "array" => "a list",
            _ => "an object",
        })
        .collect();
    words.dedup();
    let message = format!("must be {}, not {}", words.join(" or "), node.value.describe());
    match &node.value {
        Value::Number(_) | Value::Bool(_) if types.contains(&"string") => {
            cursor.refuse_with_hint(message, "put it in quotes");
        }
        Value::String(text) if is_bare(text, types) => {
            cursor.refuse_with_hint(message, "leave the quotes out");
        }
        Value::Map(_) if types == ["array"] => {
            cursor.refuse_with_hint(message, "begin it with `- `");
        }
        _ => cursor.refuse(message),
    }
}

/// Whether the text without its quotes would be of one of the types.
fn is_bare(text: &str, types: &[&str]) -> bool {
    (types.contains(&"integer") && text.parse::<i64>().is_ok())
        || (types.contains(&"number") && text.parse::<f64>().is_ok_and(f64::is_finite))
        || (types.contains(&"boolean") && matches!(text, "true" | "false"))
}

fn range(number: &serde_json::Number, schema: &Json, cursor: &Cursor<'_>) {
    let bound = |name: &str| schema.get(name).and_then(Json::as_f64);
    let Some(value) = number.as_f64() else { return };
    let of_type = (schema.get("format").and_then(Json::as_str) == Some("uint32"))
        .then_some(f64::from(u32::MAX)); // schemars leaves it to the format
    let (minimum, maximum) = (bound("minimum"), bound("maximum").or(of_type));
    let outside = minimum.is_some_and(|minimum| value < minimum)
        || maximum.is_some_and(|maximum| value > maximum);
    if outside {
        cursor.refuse(match (minimum, maximum) {
            (Some(minimum), Some(maximum)) => format!("must be between {minimum} and {maximum}"),
            (Some(minimum), None) => format!("must be {minimum} or more"),
            (None, maximum) => format!("must be {} or less", maximum.unwrap_or_default()),
        });
    }
}

/// Whether a value is of a format, and the words if not.
type Format = fn(&Node) -> Result<(), String>;

/// How a format of ours reads a value; of other formats nothing is asked.
fn format(name: &str) -> Option<Format> {
    match name {
        "percent" => Some(percent),
        "duration" => Some(duration),
        "lifetime" => Some(lifetime),
        "byte-size" => Some(byte_size),
        _ => None,
    }
}

fn percent(node: &Node) -> Result<(), String> {
    let written = node
        .get("value")
        .filter(|_| node.as_map().is_some_and(|map| map.len() == 1))
        .unwrap_or(node);
    let percent = match &written.value {
        Value::Number(number) => {
            number.as_f64().ok_or(PercentError::NotANumber).and_then(Percent::try_from)
        }
        Value::String(text) => text.parse(),
        _ => Err(PercentError::NotANumber),
    };
    percent.map(drop).map_err(|error| error.to_string())
}

fn duration(node: &Node) -> Result<(), String> {
    let duration = node.as_str().ok_or(DurationError::Malformed).and_then(str::parse::<Duration>);
    duration.map(drop).map_err(|error| error.to_string())
}

fn lifetime(node: &Node) -> Result<(), String> {
    let lifetime = node.as_str().ok_or(LifetimeError::Malformed).and_then(str::parse::<Lifetime>);
    lifetime.map(drop).map_err(|error| error.to_string())
}

fn byte_size(node: &Node) -> Result<(), String> {
    let size = match &node.value {
        Value::Number(number) => number.as_u64().map(ByteSize).ok_or(ByteSizeError::Malformed),
        Value::String(text) => text.parse(),
        _ => Err(ByteSizeError::Malformed),
    };
    size.map(drop).map_err(|error| error.to_string())
}
