//! How telemetry pipelines stand and what became of a trace's spans, in the terminal.
//!
//! Pure functions from what pipelines say to text. What telemetry says is made harmless first. Nothing depends on colour.

mod audit;
mod place;
mod probe;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use audit::draw as audit;
pub(crate) use place::{Audited, Place};
pub(crate) use probe::draw as probe;
pub(crate) use status::{Look, draw as status};

/// `1 B`, `3.4 KiB`, `256 MiB`.
fn bytes(count: usize) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}
