//! Processors on spans that stay in a form of their own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "translate/msgpack.rs"]
mod msgpack;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use ursa_model::pipeline::Processor;
use ursa_otlp::process::{Processed, Rules};
use ursa_otlp::{datadog, zipkin};

fn rules(processors: Value) -> Rules {
    let processors: Vec<Processor> = serde_json::from_value(processors).unwrap();
    Rules::compile(&BTreeMap::new(), &BTreeMap::new(), &processors).unwrap()
}

/// Drops what is called `health`, removes, redacts and keeps.
fn all() -> Rules {
    rules(json!([
        {"filter": {"name": "health", "drop": [{"spanName": {"exact": "health"}}]}},
        {"attributes": {"exclude": ["secret"], "redact": ["user"]}},
    ]))
}

fn dropped(processed: &Processed) -> Vec<(&str, usize, usize)> {
    let filtered = processed.filtered.iter();
    filtered.map(|filtered| (&*filtered.rule, filtered.items, filtered.spans.len())).collect()
}

#[test]
fn zipkin_spans_are_filtered_and_their_tags_changed() {
    let untouched = r#"{ "traceId":"a","id":"3","name":"get","more":1 }"#;
    let list = format!(
        r#"[{{"traceId":"a","id":"1","name":"health"}},
            {{"traceId":"a","id":"2","name":"get /p?token=1","tags":{{"user":"bob","secret":"s","http.url":"http://u:p@h/p?token=1","k":"v"}},"annotations":[{{"timestamp":1,"value":"sent to http://u:p@h/p?token=1"}}],"shared":true}},
            {untouched}]"#
    );
    let processed = zipkin::apply(&all(), &list.into()).unwrap();
    assert_eq!(dropped(&processed), [("health", 1, 1)]);
    assert_eq!((processed.items, zipkin::check(&processed.request).unwrap()), (2, 2));
    let text = std::str::from_utf8(&processed.request).unwrap();
    assert!(text.ends_with(&format!(",{untouched}]")), "{text}");
    let spans: Value = serde_json::from_str(text).unwrap();
    assert_eq!(spans[0]["shared"], true);
    let annotation = &spans[0]["annotations"][0]["value"];
    assert_eq!(annotation, "sent to http://REDACTED:REDACTED@h/p?REDACTED");
    let tags = &spans[0]["tags"];
    assert_eq!((&tags["k"], &tags["secret"]), (&json!("v"), &Value::Null));
    assert!(!text.contains("bob") && !text.contains("token=1") && !text.contains("u:p@"), "{text}");
}

#[test]
fn datadog_spans_are_filtered_and_what_their_trace_is_told_moves_on() {
    let message = msgpack::of_json(&json!([
        [{"trace_id": 1, "span_id": 1, "resource": "health", "meta": {"_dd.p.tid": "00000000000000ff"}, "metrics": {"_sampling_priority_v1": 2.0}},
         {"trace_id": 1, "span_id": 2, "name": "get", "resource": "get /p?token=1", "meta": {"user": "bob", "http.url": "http://h/p?token=1"}, "metrics": {"secret": 1.5, "n": 1.5}, "more": [1],
          "span_links": [{"trace_id": 9, "span_id": 9, "attributes": {"to": "http://h/?token=1"}}],
          "span_events": [{"time_unix_nano": 5, "name": "e", "attributes": {"to": {"type": 0, "string_value": "at http://h/?token=1"}}}]},
         {"trace_id": 1, "span_id": 3, "resource": "get"}],
        [{"trace_id": 2, "span_id": 4, "resource": "health"}],
    ]));
    let processed = datadog::apply(&all(), &message.into()).unwrap();
    assert_eq!(dropped(&processed), [("health", 2, 2)]);
    let count = datadog::Count { traces: 1, spans: 2 };
    assert_eq!((processed.items, datadog::check(&processed.request).unwrap()), (2, count));
    let traces = msgpack::to_json(&processed.request);
    let span = &traces[0][0];
    assert_eq!(span["meta"]["_dd.p.tid"], "00000000000000ff");
    assert_eq!(span["metrics"], json!({"n": 1.5, "_sampling_priority_v1": 2.0}));
    assert_eq!((&span["name"], &span["resource"]), (&json!("get"), &json!("get /p?REDACTED")));
    assert_eq!(span["more"], json!([1]));
    let link = json!({"trace_id": 9, "span_id": 9, "attributes": {"to": "http://h/?REDACTED"}});
    assert_eq!(span["span_links"], json!([link]));
    let said = &span["span_events"][0]["attributes"]["to"];
    assert_eq!(said, &json!({"type": 0, "string_value": "at http://h/?REDACTED"}));
    assert_eq!(traces[0][1], json!({"trace_id": 1, "span_id": 3, "resource": "get"}));
    let text = traces.to_string();
    assert!(!text.contains("bob") && !text.contains("token=1"), "{text}");
}
