//! The running summary: what a person who just started `up` wants to see.

use std::fmt::Write as _;

use serde_json::Value;

use super::load::Seen;
use crate::output::{counted, table};

/// One picture of the mesh, some lines long.
pub(crate) fn picture(services: &Value, load: Option<Seen>) -> String {
    let mut text = String::new();
    if let Some(seen) = load {
        writeln!(
            text,
            "client     {:.1} requests/s   errors {:.1} %   p50 {:.0} ms   p99 {:.0} ms",
            seen.rate,
            seen.errors * 100.0,
            seen.p50,
            seen.p99
        )
        .expect("writing to a string does not fail");
    }
    writeln!(
        text,
        "spans      {} received, {} held ({})",
        whole(&services["spansReceived"]),
        counted(whole(&services["tracesHeld"]), "trace"),
        mebibytes(&services["bytesHeld"]),
    )
    .expect("writing to a string does not fail");
    let rows: Vec<_> = services["services"].as_array().into_iter().flatten().map(row).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["SERVICE", " REQ/S", " ERRORS", "    P50", "    P99"], &rows));
    }
    text
}

/// As much of a picture as a terminal of `columns` and `rows` shows without wrapping or scrolling.
pub(crate) fn fitted(picture: &str, columns: usize, rows: usize) -> String {
    let lines = picture.lines().take(rows.saturating_sub(1).max(1));
    lines.map(|line| line.chars().take(columns).chain(['\n']).collect::<String>()).collect()
}

/// How many rows a picture takes in a terminal of `columns` that has become narrower since.
pub(crate) fn rows_of(picture: &str, columns: usize) -> usize {
    picture.lines().map(|line| line.chars().count().div_ceil(columns.max(1)).max(1)).sum()
}

/// The same on one line, for logs.
pub(crate) fn line(services: &Value, load: Option<Seen>) -> String {
    let picture = picture(services, load);
    let lines = picture.lines().take_while(|line| !line.is_empty());
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.map(words).collect::<Vec<_>>().join("; ")
}

fn row(service: &Value) -> [String; 5] {
    let number = |name: &str| service[name].as_f64().unwrap_or(0.0);
    [
        service["name"].as_str().unwrap_or_default().to_owned(),
        format!("{:>6.1}", number("requestsPerSecond")),
        format!("{:>5.1} %", number("errorRatio") * 100.0),
        format!("{:>4.0} ms", number("p50")),
        format!("{:>4.0} ms", number("p99")),
    ]
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn mebibytes(value: &Value) -> String {
    format!("{:.1} MiB", value.as_f64().unwrap_or(0.0) / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_picture_names_every_service() {
        let services = json!({
            "services": [{"name": "cart", "requestsPerSecond": 10.04, "errorRatio": 0.051, "p50": 4.2, "p99": 255.0}],
            "spansReceived": 120, "tracesHeld": 20, "bytesHeld": 1_572_864
        });
        let seen = Seen { rate: 20.0, errors: 0.025, p50: 9.6, p99: 260.2 };
        insta::assert_snapshot!(picture(&services, Some(seen)), @r"
        client     20.0 requests/s   errors 2.5 %   p50 10 ms   p99 260 ms
        spans      120 received, 20 traces held (1.5 MiB)

        SERVICE   REQ/S   ERRORS      P50      P99
        cart       10.0    5.1 %     4 ms   255 ms
        ");
        assert_eq!(
            line(&services, Some(seen)),
            "client 20.0 requests/s errors 2.5 % p50 10 ms p99 260 ms; spans 120 received, 20 traces held (1.5 MiB)"
        );
        let nothing = json!({"spansReceived": 0, "tracesHeld": 1, "bytesHeld": 0});
        assert_eq!(line(&nothing, None), "spans 0 received, 1 trace held (0.0 MiB)");
    }

    #[test]
    fn a_small_terminal_gets_a_part_of_the_picture() {
        let picture = "one two\n\nthree\nfour\n";
        assert_eq!(fitted(picture, 3, 4), "one\n\nthr\n");
        assert_eq!(rows_of(picture, 80), 4);
        assert_eq!(rows_of(picture, 3), 3 + 1 + 2 + 2);
    }
}
