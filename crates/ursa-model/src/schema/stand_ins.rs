//! Stand-ins for what is missing, so that one slip does not keep the rest of a document from being judged.

use schemars::Schema;
use serde_json::{Value as Json, json};

use super::{Checker, fits, names, tagged};
use crate::path::Path;
use crate::tree::{Map, Node, Value};

/// Puts something of the right type wherever a required field is missing or a list's item is nothing. An object that lacks the name of its kind
/// is replaced as a whole, since its other fields cannot be understood. Returns the paths below `path` that mean nothing now.
pub(crate) fn fill_in(node: &mut Node, schema: &Schema, path: &Path) -> Vec<Path> {
    let checker = Checker { root: schema.as_value() };
    let mut filled = Vec::new();
    checker.fill_in(node, schema.as_value(), path, &mut filled);
    filled
}

impl<'s> Checker<'s> {
    fn fill_in(&self, node: &mut Node, schema: &'s Json, path: &Path, filled: &mut Vec<Path>) {
        let schema = self.alternative(node, schema);
        if node.is_null() {
            node.value = Node::from_json(&stand_in(schema)).value;
            filled.push(path.clone());
        }
        match &mut node.value {
            Value::Map(map) => {
                let lacks_kind = |field: &str| {
                    !map.contains(field)
                        && property(schema, field).is_some_and(|schema| {
                            !names(self.alternative(&Node::empty_map(node.place), schema))
                                .is_empty()
                        })
                };
                if required(schema).any(lacks_kind) {
                    *map = Map::new();
                    filled.push(path.clone());
                }
                for field in required(schema) {
                    if !map.contains(field) {
                        map.insert(field, node.place, Node::new(node.place, Value::Null));
                    }
                }
                for entry in map {
                    if let Some(schema) = property(schema, &entry.key) {
                        self.fill_in(&mut entry.node, schema, &path.key(&entry.key), filled);
                    }
                }
            }
            Value::List(items) => {
                let Some(schema) = schema.get("items") else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    self.fill_in(item, schema, &path.index(index), filled);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The schema itself, or that one of its alternatives which fits best.
    fn alternative(&self, node: &Node, schema: &'s Json) -> &'s Json {
        let schema = self.resolve(schema);
        let Some(alternatives) =
            schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array)
        else {
            return schema;
        };
        let alternatives = || {
            let resolved = alternatives.iter().map(|schema| self.resolve(schema));
            resolved.filter(|schema| self.types(schema) != ["null"])
        };
        let of_kind = |(name, _): &(&str, &Json)| node.get(name).is_some();
        let kinds = tagged::kinds(&alternatives().collect::<Vec<_>>()).unwrap_or_default();
        if let Some(at) = kinds.iter().position(of_kind) {
            return alternatives().nth(at).unwrap_or(schema);
        }
        let fitting =
            alternatives().find(|schema| self.types(schema).iter().any(|name| fits(node, name)));
        fitting.or_else(|| alternatives().next()).unwrap_or(schema)
    }
}

/// The schema of an object's field.
fn property<'s>(schema: &'s Json, field: &str) -> Option<&'s Json> {
    let own = schema.get("properties").and_then(|properties| properties.get(field));
    own.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
}

fn required(schema: &Json) -> impl Iterator<Item = &str> {
    let listed = schema.get("required").and_then(Json::as_array).into_iter().flatten();
    listed.filter_map(Json::as_str)
}

/// A value of the schema's type, as short as can be.
fn stand_in(schema: &Json) -> Json {
    if let Some(name) = names(schema).first() {
        return json!(name);
    }
    let format = schema.get("format").and_then(Json::as_str);
    let types = schema.get("type");
    let first = types.and_then(|types| types.as_str().or_else(|| types.get(0)?.as_str()));
    match (format, first) {
        (Some("duration"), _) => json!("0s"),
        (_, Some("string")) => json!(""),
        (_, Some("integer" | "number")) => json!(0),
        (_, Some("boolean")) => json!(false),
        (_, Some("array")) => json!([]),
        _ => json!({}),
    }
}
