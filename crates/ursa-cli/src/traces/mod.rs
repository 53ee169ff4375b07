//! Traces in the terminal: a list as columns, one trace as a waterfall.
//!
//! Pure functions from what the REST API answers to text. What telemetry says is made harmless first: a
//! terminal obeys control characters. Nothing depends on colour.

mod list;
mod waterfall;

pub(crate) use list::in_short;

use serde_json::Value;

use crate::paint;

/// What `/telemetry/traces` answers, as aligned columns.
pub(crate) fn list(found: &Value, color: bool) -> String {
    list::draw(found, paint::Paint::new(color))
}

/// What `/telemetry/traces/{id}` answers, as a waterfall of so many columns (at least 40).
pub(crate) fn waterfall(trace: &Value, width: usize, color: bool) -> String {
    waterfall::draw(trace, width, paint::Paint::new(color))
}

#[cfg(test)]
mod tests;
