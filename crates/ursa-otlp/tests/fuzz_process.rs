//! Fuzz target of processors: any rules over any bytes. `cargo bolero test` searches for more than
//! `cargo test` tries.

use std::collections::BTreeMap;

use bytes::Bytes;
use ursa_model::pipeline::Processor;
use ursa_otlp::Signal;
use ursa_otlp::process::Rules;
use ursa_otlp::wire::check;

/// Chosen from by the bits of a number.
const PROCESSORS: &str = r#"[
    {"resourceAttributes": {"set": {"a": "x"}, "fill": {"b": "y"}, "remove": ["c"]}},
    {"semanticConventions": {}},
    {"attributes": {"include": ["a*", "http.*"], "exclude": ["ab"], "redact": ["http.url"]}},
    {"attributes": {"in": ["resource", "scope", "span", "metric", "log"], "hash": ["*"]}},
    {"redactUrls": {"query": "values", "also": ["a"]}},
    {"filter": {"name": "one", "drop": [{"attributes": {"a": {"regex": "^x"}}}]}},
    {"filter": {"name": "two", "keep": [{"resourceAttributes": {"a": {"present": true}}}]}},
    {"filter": {"name": "three", "drop": [{"severityBelow": "warn"}, {"metricName": {"prefix": "m"}}]}}
]"#;

/// What was valid stays valid, and what came in goes on or is counted.
#[test]
fn process() {
    let all: Vec<Processor> = serde_json::from_str(PROCESSORS).unwrap();
    bolero::check!().with_type::<(u8, bool, Vec<u8>)>().for_each(|(chosen, back, bytes)| {
        let of = |bit: &usize| chosen >> bit & 1 == 1;
        let mut processors: Vec<_> = (0..8).filter(of).map(|bit| all[bit].clone()).collect();
        if *back {
            processors.reverse();
        }
        let rules = Rules::compile(&BTreeMap::new(), &BTreeMap::new(), &processors).unwrap();
        let bytes = Bytes::copy_from_slice(bytes);
        for signal in Signal::ALL {
            let processed = rules.apply(signal, &bytes);
            let Ok(items) = check(signal, &bytes) else { continue };
            let processed = processed.unwrap();
            let filtered: usize = processed.filtered.iter().map(|one| one.items).sum();
            assert_eq!(processed.items + filtered, items);
            assert_eq!(check(signal, &processed.request), Ok(processed.items));
        }
    });
}
