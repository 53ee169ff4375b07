//! How far a proxy is with what it was sent.

use serde_json::Value;

/// How far a proxy is with what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was sent nothing.
    Nothing,
    /// Something is not acknowledged.
    Pending,
    /// Something was refused.
    Rejected,
    /// Everything is acknowledged.
    Acknowledged,
}

/// Reads the state from a proxy's overview.
pub(crate) fn state(overview: &Value) -> State {
    let Some(types) = overview["types"].as_object().filter(|types| !types.is_empty()) else {
        return State::Nothing;
    };
    if types.values().any(|t| !t["nack"].is_null()) {
        State::Rejected
    } else if types.values().all(|t| t["sent"] == t["acked"]) {
        State::Acknowledged
    } else {
        State::Pending
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_proxy_is_as_far_as_its_slowest_type() {
        let of = |types: Value| state(&json!({ "types": types }));
        assert_eq!(of(json!({})), State::Nothing);
        assert_eq!(
            of(json!({"lds": {"sent": "2", "acked": "2", "nack": null}})),
            State::Acknowledged
        );
        assert_eq!(of(json!({"lds": {"sent": "2", "acked": "1", "nack": null}})), State::Pending);
        assert_eq!(
            of(json!({"lds": {"sent": "2", "acked": "1", "nack": {"error": "no"}}})),
            State::Rejected
        );
    }
}
