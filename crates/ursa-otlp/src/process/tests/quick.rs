//! Spans as Envoy writes them, which need no list of their attributes.

use super::*;
use crate::process::quick::{Outcome, Page};

/// Envoy's tags and some others, and what they may say.
fn attribute() -> impl Strategy<Value = KeyValue> {
    let tags: Vec<(&str, &[&str])> = vec![
        ("node_id", &["a-node"]),
        ("zone", &["", "zone-1"]),
        ("guid:x-request-id", &["3e7f2c1e-1d0b-9a51-8c55-1f2e3d4c5b6a"]),
        ("http.url", &["http://h:3001/items/42", "https://u:p@h/p?a=1#f", "h/p?a", "://", ""]),
        ("http.method", &["GET", "get", "", "POST"]),
        ("http.route", &["/items/{id}", "/a?b", ""]),
        ("user_agent", &["-", "curl/8", "a?b@c"]),
        ("http.protocol", &["HTTP/1.1", "HTTP/2", "HTTP/a://u@h", "?"]),
        ("peer.address", &["10.0.0.1", "10.0.0.1:80", "[::1]:65536", "u@h:80"]),
        ("request_size", &["0", "127", "128", "16384", "9223372036854775807", "1e3", ""]),
        ("upstream_cluster", &["orders", "http://u:p@h/"]),
        ("http.status_code", &["0", "200", "503", "9223372036854775808"]),
        ("response_flags", &["-", "UF"]),
        ("error", &["true", "false"]),
        ("grpc.path", &["/s.V/M", "/s/", "/s/m?", "x"]),
        ("grpc.status_code", &["0", "14", "x"]),
        ("tenant", &["one", "http://h/?q", "jdbc:mysql://u:p@h/d"]),
        ("url.path", &["/p"]),
        ("url.query", &["token=x"]),
        ("component", &["proxy", "other"]),
    ];
    let long = prop_oneof![9 => Just(0_usize), 1 => 80..300_usize];
    (prop::sample::select(tags), any::<prop::sample::Index>(), long).prop_map(
        |((key, texts), index, long)| {
            let text = format!("{}{}", index.get(texts), "x".repeat(long));
            reference::pair(key, reference::text(&text))
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let name = prop::sample::select(vec!["ingress", "egress h", "GET /p?a=1", "work"]);
    let parts = (name, vec(attribute(), 0..24), 1..4_i32, 0..3_i32);
    let message = prop::sample::select(vec!["", "timeout", "http://u:p@h/ failed"]);
    (parts, message, any::<u8>()).prop_map(
        |((name, mut attributes, kind, code), message, choice)| {
            // Most are Envoy's, and most say a thing once.
            if choice % 16 > 1 {
                attributes.retain(|one| !one.key.starts_with("url."));
                attributes.push(reference::pair("component", reference::text("proxy")));
            }
            if choice % 8 != 1 {
                let mut seen = std::collections::BTreeSet::new();
                attributes.retain(|one| seen.insert(one.key.clone()));
            }
            if choice % 8 == 2 {
                let value = Some(AnyValue { value: Some(Any::IntValue(7)) });
                attributes.push(reference::pair("retry.count", value));
            }
            let within = attributes.iter().filter(|_| choice % 8 == 3).cloned().collect();
            Span {
                name: name.into(),
                kind,
                attributes,
                trace_id: vec![7; 16],
                span_id: vec![9; 8],
                events: vec![Event { attributes: within, ..Event::default() }],
                status: Some(Status { message: message.into(), code }),
                ..Span::default()
            }
        },
    )
}

fn processors() -> impl Strategy<Value = Vec<Processor>> {
    let processors = json!([
        [{"semanticConventions": {}}],
        [{"semanticConventions": {}}, {"resourceAttributes": {"set": {"a": "x"}}}],
        [{"semanticConventions": {}}, {"redactUrls": {"query": "values"}}],
        [{"semanticConventions": {}}, {"redactUrls": {"query": "keep", "credentials": false}}],
        [{"semanticConventions": {}}, {"redactUrls": {"also": ["tenant"]}}],
        [{"redactUrls": {}}, {"semanticConventions": {}}],
        [{"envoyTags": {"set": {"team": "shop", "tenant": "other"}}}, {"semanticConventions": {}}],
        [{"envoyTags": {"set": {"http.url": "none", "team": "shop"}}}, {"semanticConventions": {}}],
        [{"envoyTags": {"set": {"team": "http://u:p@h"}}}, {"semanticConventions": {}}, {"redactUrls": {}}],
    ]);
    let processors: Vec<Vec<Processor>> = serde_json::from_value(processors).unwrap();
    prop::sample::select(processors)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn envoys_spans_equal_decoded(spans in vec(span(), 1..4), processors in processors()) {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        compare(&ExportTraceServiceRequest { resource_spans }.encode_to_vec().into(), &processors);
    }
}

/// Its length takes two bytes, and nothing in it looks like a URL.
#[test]
fn a_long_query_is_redacted_in_any_span() {
    let query = format!("token={}", "s".repeat(200));
    let attributes = vec![reference::pair("url.query", reference::text(&query))];
    let spans = vec![Span { attributes, ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    let processors = serde_json::from_value::<Vec<Processor>>(json!([{"semanticConventions": {}}]));
    compare(&bytes, &processors.unwrap());
}

#[test]
fn ordinary_spans_go_the_quick_way() {
    let rules = compile(
        &serde_json::from_value::<Vec<Processor>>(json!([{"semanticConventions": {}}])).unwrap(),
    );
    let quick = rules.plans[0].quick.as_ref().unwrap();
    let browser = "Mozilla/5.0 ".repeat(20);
    let lists: [&[(&str, &str)]; 4] = [
        &[("http.method", "GET"), ("http.status_code", "200"), ("tenant", "one")],
        &[("http.url", "https://h/p?a=1"), ("user_agent", &browser), ("peer.address", "[::1]:80")],
        &[("grpc.path", "/s.V/M"), ("grpc.status_code", "14"), ("error", "true")],
        &[("http.method", "PURGE"), ("http.status_code", "0"), ("user_agent", "-")],
    ];
    for list in lists {
        let pairs = [("component", "proxy")].iter().chain(list);
        let attributes = pairs.map(|(key, value)| reference::pair(key, reference::text(value)));
        let span =
            Span { name: "ingress".into(), attributes: attributes.collect(), ..Span::default() };
        let bytes = span.encode_to_vec();
        for plain in [true, false] {
            let outcome = quick.span(&bytes, plain, &mut Page::new(bytes.len()));
            assert!(matches!(outcome, Outcome::Renamed(_)), "{list:?}");
        }
    }
    let bytes = Span { name: "work".into(), ..Span::default() }.encode_to_vec();
    assert!(matches!(quick.span(&bytes, true, &mut Page::new(bytes.len())), Outcome::Same));
}
