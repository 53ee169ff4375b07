//! Accepted spellings of a MeshRetry's settings, turned into the canonical ones: `5XX`, `gateway-error`, `deadline_exceeded`, statuses as numbers.

use ursa_model::tree::{Node, Value};

use super::conditions::{Condition, GRPC, HTTP, METHODS, canonical};

/// The node is the `default` of a part.
pub(super) fn rewrite(settings: &mut Node) {
    let of_http = HTTP.into_iter().chain(METHODS).collect::<Vec<_>>();
    each(settings, "http", &of_http);
    each(settings, "grpc", &GRPC);
}

fn each(settings: &mut Node, protocol: &str, conditions: &[Condition]) {
    let list = settings.get_mut(protocol).and_then(|it| it.get_mut("retryOn"));
    for condition in list.and_then(Node::as_list_mut).into_iter().flatten() {
        let word = match &condition.value {
            Value::String(written) => canonical(conditions, written).map(str::to_owned),
            Value::Number(status) if status.is_u64() => Some(status.to_string()),
            _ => None,
        };
        if let Some(word) = word {
            condition.value = Value::String(word);
        }
    }
}
