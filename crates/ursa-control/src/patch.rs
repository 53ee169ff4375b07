//! How one JSON document becomes another: JSON Patch (RFC 6902), with `add`, `remove` and `replace` only.
//!
//! Not the shortest patch there is, but a short one: of lists what is equal at both ends is left alone.

use serde_json::{Map, Value, json};

/// The operations that make `after` of `before`, in the order in which they are applied.
pub(crate) fn patch(before: &Value, after: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    value(before, after, "", &mut operations);
    operations
}

fn value(before: &Value, after: &Value, path: &str, operations: &mut Vec<Value>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(before), Value::Object(after)) => fields(before, after, path, operations),
        (Value::Array(before), Value::Array(after)) => items(before, after, path, operations),
        _ => operations.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

fn fields(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    path: &str,
    operations: &mut Vec<Value>,
) {
    for (name, old) in before {
        let path = below(path, name);
        match after.get(name) {
            Some(new) => value(old, new, &path, operations),
            None => operations.push(json!({"op": "remove", "path": path})),
        }
    }
    for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        operations.push(json!({"op": "add", "path": below(path, name), "value": new}));
    }
}

fn items(before: &[Value], after: &[Value], path: &str, operations: &mut Vec<Value>) {
    let same = |(old, new): &(&Value, &Value)| old == new;
    let head = before.iter().zip(after).take_while(same).count();
    let (old, new) = (before.iter().skip(head), after.iter().skip(head));
    let tail = old.rev().zip(new.rev()).take_while(same).count();
    let inner = |items: &[Value]| items.len().saturating_sub(head + tail);
    let (old, new) = (inner(before), inner(after));
    for (offset, (old, new)) in before.iter().zip(after).skip(head).take(old.min(new)).enumerate() {
        value(old, new, &format!("{path}/{}", head + offset), operations);
    }
    for index in (new..old).rev() {
        operations.push(json!({"op": "remove", "path": format!("{path}/{}", head + index)}));
    }
    for (index, item) in after.iter().enumerate().skip(head + old).take(new.saturating_sub(old)) {
        operations.push(json!({"op": "add", "path": format!("{path}/{index}"), "value": item}));
    }
}

/// A JSON pointer (RFC 6901) one step further.
fn below(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apply(document: &mut Value, operation: &Value) {
        let path = operation["path"].as_str().unwrap();
        let Some((parent, name)) = path.rsplit_once('/') else {
            *document = operation["value"].clone();
            return;
        };
        let name = name.replace("~1", "/").replace("~0", "~");
        match (document.pointer_mut(parent).unwrap(), operation["op"].as_str().unwrap()) {
            (Value::Object(fields), "remove") => drop(fields.remove(&name).unwrap()),
            (Value::Object(fields), _) => drop(fields.insert(name, operation["value"].clone())),
            (Value::Array(items), "remove") => drop(items.remove(name.parse().unwrap())),
            (Value::Array(items), "add") => {
                items.insert(name.parse().unwrap(), operation["value"].clone());
            }
            (Value::Array(items), _) => {
                items[name.parse::<usize>().unwrap()] = operation["value"].clone();
            }
            (other, _) => panic!("nothing is below {other}"),
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), Just(json!(1)), Just(json!("a"))];
        leaf.prop_recursive(4, 24, 5, |inner| {
            let name = prop::sample::select(vec!["a", "b/c", "~"]).prop_map(str::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map(name, inner, 0..3)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_one_of_the_other(before in documents(), after in documents()) {
            let mut document = before.clone();
            let operations = patch(&before, &after);
            prop_assert_eq!(operations.is_empty(), before == after);
            for operation in &operations {
                apply(&mut document, operation);
            }
            prop_assert_eq!(document, after);
        }
    }

    #[test]
    fn an_item_put_first_moves_the_others_along() {
        let (before, after) = (json!({"a": [1, 2]}), json!({"a": [0, 1, 2]}));
        assert_eq!(patch(&before, &after), [json!({"op": "add", "path": "/a/0", "value": 0})]);
    }
}
