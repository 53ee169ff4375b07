//! Traces as aligned columns.

use serde::Deserialize;
use serde_json::Value;

use crate::paint::{Paint, Style, columns, cut, duration, harmless};

/// So many hex digits of a trace id tell it from the others; `ursa trace` takes them.
const ID_DIGITS: usize = 12;
/// No name is shown longer.
const LONGEST_NAME: usize = 48;

/// What is read of the answer; what it does not say is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Listing {
    traces: Vec<Summary>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Summary {
    trace_id: String,
    root: Root,
    start: String,
    duration_ms: f64,
    spans: u64,
    services: Vec<Service>,
    errors: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Root {
    service: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    name: String,
}

/// A column: its head, and whether it is aligned to the right.
const COLUMNS: [(&str, bool); 6] = [
    ("TRACE", false),
    ("STARTED", false),
    ("DURATION", true),
    ("SPANS", true),
    ("ERRORS", true),
    ("ROOT", false),
];

/// The digits of an id that tell it from others: without the 16 zeros that stand before those of 64 bits.
pub(crate) fn in_short(id: &str) -> &str {
    id.strip_prefix("0000000000000000").unwrap_or(id)
}

pub(super) fn draw(found: &Value, paint: Paint) -> String {
    let listing = Listing::deserialize(found).unwrap_or_default();
    if listing.traces.is_empty() {
        return "no trace matches\n".to_owned();
    }
    let rows: Vec<_> = listing.traces.iter().map(cells).collect();
    let widths: Vec<usize> = COLUMNS
        .iter()
        .enumerate()
        .map(|(index, (head, _))| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| columns(cell));
            cells.max().unwrap_or(0).max(head.len())
        })
        .collect();
    let heads = COLUMNS.map(|(head, _)| head.to_owned());
    let mut text = line(&heads, "SERVICES", &widths, |_| Style::Dim, paint);
    for (row, trace) in rows.iter().zip(&listing.traces) {
        // Where it began first, so that like traces look alike.
        let mut services: Vec<_> = trace.services.iter().map(|service| &service.name).collect();
        services.sort_by_key(|service| (**service != trace.root.service, *service));
        let services: Vec<_> = services.into_iter().map(|service| harmless(service)).collect();
        let style = |column: &str| match column {
            "ERRORS" if trace.errors > 0 => Style::Failed,
            "TRACE" => Style::Bold,
            "STARTED" => Style::Dim,
            _ => Style::Plain,
        };
        text += &line(row, &services.join(", "), &widths, style, paint);
    }
    text
}

fn cells(trace: &Summary) -> [String; 6] {
    [
        in_short(&trace.trace_id).chars().filter(char::is_ascii_hexdigit).take(ID_DIGITS).collect(),
        time_of_day(&trace.start),
        duration(trace.duration_ms),
        trace.spans.to_string(),
        if trace.errors == 0 { "-".to_owned() } else { trace.errors.to_string() },
        cut(&harmless(&format!("{} {}", trace.root.service, trace.root.name)), LONGEST_NAME),
    ]
}

fn line(
    row: &[String; 6],
    last: &str,
    widths: &[usize],
    style: impl Fn(&str) -> Style,
    paint: Paint,
) -> String {
    let mut line = String::new();
    for ((cell, (head, right)), width) in row.iter().zip(COLUMNS).zip(widths) {
        let padding = " ".repeat(width.saturating_sub(columns(cell)));
        let cell = paint.text(style(head), cell);
        line += &if right { padding + &cell } else { cell + &padding };
        line += "  ";
    }
    line += &if style("SERVICES") == Style::Dim {
        paint.text(Style::Dim, last)
    } else {
        last.to_owned()
    };
    line.truncate(line.trim_end().len());
    line + "\n"
}

/// `12:00:00.250Z` of an RFC 3339 time.
fn time_of_day(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%H:%M:%S.%3fZ").to_string(),
        Err(_) => harmless(time),
    }
}
