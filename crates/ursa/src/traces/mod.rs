//! Traces in the terminal: a list as columns, one trace as a waterfall.
//!
//! Pure functions from what the REST API answers to text. What telemetry says is made harmless first: a
//! terminal obeys control characters. Nothing depends on colour.

mod list;
mod paint;
mod waterfall;

use serde_json::Value;

/// Columns of what is no terminal, or does not tell.
const DEFAULT_WIDTH: usize = 100;

/// What `/telemetry/traces` answers, as aligned columns.
pub(crate) fn list(found: &Value, color: bool) -> String {
    list::draw(found, paint::Paint::new(color))
}

/// What `/telemetry/traces/{id}` answers, as a waterfall of so many columns (at least 40).
pub(crate) fn waterfall(trace: &Value, width: usize, color: bool) -> String {
    waterfall::draw(trace, width, paint::Paint::new(color))
}

/// Columns of the terminal.
pub(crate) fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map_or(DEFAULT_WIDTH, |size| {
        match size.ws_col {
            0 => DEFAULT_WIDTH,
            columns => usize::from(columns),
        }
    })
}

#[cfg(test)]
mod tests;
