//! What a change would do, shown; and whether Envoy accepts it.

mod show;
mod validate;

use serde_json::Value;

pub(crate) use self::show::show;
pub(crate) use self::validate::validate;

/// Whether any resource would change.
pub(crate) fn changes(answer: &Value) -> bool {
    let changes = answer["changes"].as_array().into_iter().flatten();
    changes.into_iter().any(|change| change["action"] != "unchanged")
}

/// Whether any proxy would.
pub(crate) fn touches(answer: &Value) -> bool {
    answer["proxies"].as_array().is_some_and(|proxies| !proxies.is_empty())
}
