//! Reads Prometheus' text format 0.0.4 as far as emitters use it. The tests of every room that emits
//! include this file.

use std::collections::BTreeMap;

use ursa_metrics::Metric;

/// Kind and names of labels, sorted.
type Family = (String, Vec<String>);

/// `text` shows exactly the metrics of `catalogue`, each with its kind and labels and those that
/// name the emitter.
pub(crate) fn assert_shows(text: &str, catalogue: &[&[&Metric]], emitter: &[&str]) {
    let shown = families(text);
    let mut wanted = BTreeMap::new();
    for metric in catalogue.iter().copied().flatten() {
        let mut labels: Vec<_> =
            metric.labels.iter().chain(emitter).map(|label| (*label).to_owned()).collect();
        labels.sort();
        wanted.insert(metric.name, (format!("{:?}", metric.kind).to_lowercase(), labels));
    }
    for (name, family) in &wanted {
        assert_eq!(shown.get(*name), Some(family), "{name} in\n{text}");
    }
    let others: Vec<_> = shown.keys().filter(|name| !wanted.contains_key(name.as_str())).collect();
    assert!(others.is_empty(), "not in the catalogue: {others:?}");
}

/// Every family that has series. All series of one have the same labels, and the names that its
/// kind gives them; a summary is not known here.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut name, mut kind) = ("", "");
    for line in text.lines().filter(|line| !line.starts_with("# HELP ")) {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            (name, kind) = typed.split_once(' ').expect(line);
            assert!(!families.contains_key(name), "{name} stands in two places");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            continue;
        }
        let (series, mut labels) = labels(line);
        let suffix = series.strip_prefix(name).expect(line);
        let bound = labels.iter().position(|label| label == "le");
        let is_known = match kind {
            "counter" | "gauge" => suffix.is_empty(),
            "histogram" => match bound {
                Some(_) => suffix == "_bucket",
                None => matches!(suffix, "_sum" | "_count"),
            },
            _ => false,
        };
        assert!(is_known, "a {kind} has no {line}");
        if let Some(bound) = bound {
            labels.remove(bound);
        }
        let family = families.entry(name.to_owned()).or_insert((kind.to_owned(), labels.clone()));
        assert_eq!(family.1, labels, "{line}");
    }
    families
}

/// Name and names of labels, sorted, of a series: `name{label="value",…} number`.
fn labels(line: &str) -> (&str, Vec<String>) {
    let (series, number) = line.rsplit_once(' ').expect(line);
    assert!(number.parse::<f64>().is_ok(), "{line}");
    let Some((name, mut rest)) = series.split_once('{') else { return (series, Vec::new()) };
    let mut labels = Vec::new();
    while let Some((label, value)) = rest.split_once("=\"") {
        labels.push(label.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = value.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        rest = value.split_at(end.expect(line) + 1).1;
    }
    assert_eq!(rest, "}", "{line}");
    labels.sort();
    (name, labels)
}
