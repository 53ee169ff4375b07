//! What settings of several kinds are refused for: nothing where something is needed. Ranges of numbers stand in the schemas.

use ursa_model::duration::Duration;
use ursa_model::report::Cursor;
use ursa_model::tree::{Node, Value};

/// Whether something is written in that field: neither `null` nor an empty object or list.
pub(crate) fn is_given(settings: &Node, field: &str) -> bool {
    settings.get(field).is_some_and(|node| match &node.value {
        Value::Null => false,
        Value::Map(map) => !map.is_empty(),
        Value::List(list) => !list.is_empty(),
        _ => true,
    })
}

/// Refuses lengths of time that are 0.
pub(crate) fn more_than_zero(fields: &[(&str, Option<Duration>)], cursor: &Cursor<'_>) {
    for (field, value) in fields {
        if value.is_some_and(|value| value.get().is_zero()) {
            cursor.at(field).refuse("must be more than 0");
        }
    }
}
