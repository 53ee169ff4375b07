//! Single cases that say what users may expect.

use super::*;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

fn processors(json: serde_json::Value) -> Vec<Processor> {
    serde_json::from_value(json).unwrap()
}

fn strings(list: &[(&str, &str)]) -> Vec<KeyValue> {
    list.iter().map(|(key, value)| reference::pair(key, reference::text(value))).collect()
}

/// As Envoy 1.40 sends it.
fn envoy() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "ingress".into(),
        kind: 2,
        attributes: strings(&[
            ("node_id", "default.backend"),
            ("zone", ""),
            ("guid:x-request-id", "3e7f2c1e"),
            ("http.url", "http://backend:3001/items/42?user=ada"),
            ("http.method", "GET"),
            ("downstream_cluster", "-"),
            ("user_agent", "curl/8"),
            ("http.protocol", "HTTP/1.1"),
            ("peer.address", "10.0.0.1"),
            ("request_size", "0"),
            ("response_size", "12"),
            ("component", "proxy"),
            ("upstream_cluster", "local"),
            ("http.status_code", "503"),
            ("response_flags", "UF"),
            ("error", "true"),
            ("team", "shop"),
        ]),
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Bytes {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn show(span: &Span) -> Vec<String> {
    let value = |one: &KeyValue| match one.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => format!("{}: {text:?}", one.key),
        Some(Any::IntValue(number)) => format!("{}: {number}", one.key),
        other => format!("{}: {other:?}", one.key),
    };
    let mut lines: Vec<_> = span.attributes.iter().map(value).collect();
    lines.sort();
    lines.insert(
        0,
        format!("{} (status {})", span.name, span.status.clone().unwrap_or_default().code),
    );
    lines
}

#[test]
fn envoys_span_speaks_the_conventions() {
    let rules = compile(&processors(json!([{"semanticConventions": {"from": "envoy"}}])));
    let processed = rules.apply(Signal::Traces, &request(vec![envoy()])).unwrap();
    let decoded = decode(&processed.request);
    let scope = &decoded.resource_spans[0].scope_spans[0];
    assert_eq!(scope.schema_url, "https://opentelemetry.io/schemas/1.37.0");
    let expected = [
        "GET (status 2)",
        "client.address: \"10.0.0.1\"",
        "envoy.component: \"proxy\"",
        "envoy.downstream_cluster: \"-\"",
        "envoy.node_id: \"default.backend\"",
        "envoy.request_id: \"3e7f2c1e\"",
        "envoy.response_flags: \"UF\"",
        "envoy.upstream_cluster: \"local\"",
        "envoy.zone: \"\"",
        "error.type: \"503\"",
        "http.request.body.size: 0",
        "http.request.method: \"GET\"",
        "http.response.body.size: 12",
        "http.response.status_code: 503",
        "network.peer.address: \"10.0.0.1\"",
        "network.protocol.name: \"http\"",
        "network.protocol.version: \"1.1\"",
        "server.address: \"backend\"",
        "server.port: 3001",
        "team: \"shop\"",
        "url.path: \"/items/42\"",
        "url.query: \"REDACTED\"",
        "url.scheme: \"http\"",
        "user_agent.original: \"curl/8\"",
    ];
    assert_eq!(show(&scope.spans[0]), expected);
    let again = rules.apply(Signal::Traces, &processed.request).unwrap();
    assert_eq!(again.request, processed.request, "what speaks them already stays");
}

/// What counts as failed where Envoy says nothing: by the status of HTTP or gRPC, and for whom.
#[test]
fn statuses_fail_by_the_conventions() {
    let rules = compile(&processors(json!([{"semanticConventions": {}}])));
    for (tag, value, server, client) in [
        ("http.status_code", "200", false, false),
        ("http.status_code", "302", false, false),
        ("http.status_code", "404", false, true),
        ("http.status_code", "503", true, true),
        ("http.status_code", "0", false, false),
        ("http.status_code", "5", false, false),
        ("grpc.status_code", "0", false, false),
        ("grpc.status_code", "5", false, true),
        ("grpc.status_code", "14", true, true),
    ] {
        for (kind, fails) in [(2, server), (3, client)] {
            let mut span = Span { kind, ..envoy() };
            span.status = None;
            let of_outcome = ["error", "http.status_code", "response_flags"];
            span.attributes.retain(|one| !of_outcome.contains(&&*one.key));
            span.attributes.push(reference::pair(tag, reference::text(value)));
            let processed = rules.apply(Signal::Traces, &request(vec![span])).unwrap();
            let span = &decode(&processed.request).resource_spans[0].scope_spans[0].spans[0];
            let lines = show(span);
            assert_eq!(lines[0].ends_with("(status 2)"), fails, "{tag} {value}: {lines:#?}");
            let class = format!("error.type: {value:?}");
            assert_eq!(lines.contains(&class), fails, "{tag} {value}: {lines:#?}");
        }
    }
}

/// A scope says which conventions its spans follow: those that are left, not those that a filter took.
#[test]
fn the_schema_is_that_of_the_spans_that_remain() {
    let mut work = envoy();
    work.attributes.retain(|one| one.key != "component");
    let bytes = request(vec![envoy(), work]);
    for (proxies, expected) in [(true, ""), (false, "https://opentelemetry.io/schemas/1.37.0")] {
        let dropped = json!([{"attributes": {"envoy.component": {"present": proxies}}}]);
        let processors = processors(json!([
            {"semanticConventions": {}},
            {"filter": {"name": "one of two", "drop": dropped}},
        ]));
        compare(&bytes, &processors);
        let processed = compile(&processors).apply(Signal::Traces, &bytes).unwrap();
        assert_eq!(processed.items, 1);
        let scope = &decode(&processed.request).resource_spans[0].scope_spans[0];
        assert_eq!(scope.schema_url, expected);
    }
}

/// Members of baggage become attributes before spans are renamed, and names may be made of all.
#[test]
fn spans_are_named_by_attributes_and_baggage() {
    let rules = compile(&processors(json!([
        {"baggage": {"from": "ursa.baggage", "members": [
            {"attribute": "tenant", "member": "tenant.id", "default": "none"},
            {"attribute": "team", "member": "x"},
            {"attribute": "absent", "member": "absent"},
        ]}},
        {"semanticConventions": {}},
        {"spanName": {"template": "{{name}} of {{tenant}}: {{http.response.status_code}}"}},
    ])));
    let name = |baggage: &str| {
        let mut span = envoy();
        if !baggage.is_empty() {
            span.attributes.push(reference::pair("ursa.baggage", reference::text(baggage)));
        }
        let processed = rules.apply(Signal::Traces, &request(vec![span])).unwrap();
        let lines = show(&decode(&processed.request).resource_spans[0].scope_spans[0].spans[0]);
        assert!(lines.contains(&"team: \"shop\"".to_owned()), "what is there stays: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("baggage") || line.contains("absent")));
        lines[0].clone()
    };
    assert_eq!(name("x=1, tenant.id=a%20b;p=1"), "GET of a b: 503 (status 2)");
    assert_eq!(name(""), "GET of none: 503 (status 2)");

    let missing = compile(&processors(json!([{"spanName": {"template": "{{gone}}"}}])));
    let bytes = request(vec![envoy()]);
    let processed = missing.apply(Signal::Traces, &bytes).unwrap();
    assert_eq!(
        decode(&processed.request).resource_spans[0].scope_spans[0].spans[0].name,
        "ingress"
    );
    Rules::compile(&[].into(), &[].into(), &processors(json!([{"spanName": {"template": "{{"}}])))
        .unwrap_err();
}

#[test]
fn what_an_application_says_is_left_alone() {
    let mut span = envoy();
    span.attributes.retain(|one| one.key != "component" && one.key != "http.url");
    let bytes = request(vec![span]);
    let rules = compile(&processors(json!([{"semanticConventions": {}}])));
    let processed = rules.apply(Signal::Traces, &bytes).unwrap();
    assert_eq!(processed.request.as_ptr(), bytes.as_ptr());
}

#[test]
fn what_a_filter_drops_is_named() {
    let mut health = envoy();
    health.name = "health".into();
    let rules = compile(&processors(json!([
        {"filter": {"name": "health", "drop": [{"spanName": {"exact": "health"}}]}}
    ])));
    let processed = rules.apply(Signal::Traces, &request(vec![envoy(), health.clone()])).unwrap();
    let id = SpanId { trace: [1; 16], span: [2; 8] };
    let filtered = Filtered { rule: "health".into(), items: 1, spans: vec![id] };
    assert_eq!((processed.items, processed.filtered.as_slice()), (1, &[filtered][..]));
    let all = rules.apply(Signal::Traces, &request(vec![health])).unwrap();
    assert_eq!((all.items, all.request.len()), (0, 0), "nothing is left of a request");
}

#[test]
fn metrics_and_logs_are_filtered_and_redacted() {
    let metrics = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "keep", "sum": {"dataPoints": [
            {"asInt": "1", "attributes": [{"key": "user", "value": {"stringValue": "lovelace"}}]},
            {"asInt": "2", "attributes": [{"key": "pod", "value": {"stringValue": "a"}}]},
        ]}},
        {"name": "go_gc", "gauge": {"dataPoints": [{"asInt": "3"}, {"asInt": "4"}]}},
    ]}]}]});
    let metrics: ExportMetricsServiceRequest = serde_json::from_value(metrics).unwrap();
    let rules = compile(&processors(json!([
        {"attributes": {"in": ["metric", "log"], "redact": ["user"]}},
        {"filter": {"name": "go", "drop": [{"metricName": {"prefix": "go_"}}]}},
        {"filter": {"name": "pods", "drop": [{"attributes": {"pod": {"present": true}}}]}},
        {"filter": {"name": "chatty", "drop": [{"severityBelow": "info"}]}},
    ])));
    let processed = rules.apply(Signal::Metrics, &metrics.encode_to_vec().into()).unwrap();
    let counts = |processed: &Processed| {
        let filtered = processed.filtered.iter().map(|one| (one.rule.to_string(), one.items));
        (processed.items, filtered.collect::<Vec<_>>())
    };
    assert_eq!(counts(&processed), (1, vec![("go".into(), 2), ("pods".into(), 1)]));
    let left = ExportMetricsServiceRequest::decode(processed.request.as_ref()).unwrap();
    let left = serde_json::to_string(&left).unwrap();
    assert!(
        left.contains("REDACTED") && !left.contains("lovelace") && !left.contains("go_gc"),
        "{left}"
    );

    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"severityNumber": 5}, {"severityNumber": 9}, {"severityNumber": 17}, {},
    ]}]}]});
    let logs: ExportLogsServiceRequest = serde_json::from_value(logs).unwrap();
    let processed = rules.apply(Signal::Logs, &logs.encode_to_vec().into()).unwrap();
    assert_eq!(counts(&processed), (2, vec![("chatty".into(), 2)]));
}

#[test]
fn native_spans_go_by_the_same_rules() {
    struct Native;
    impl SpanFacts for Native {
        fn name(&self) -> &'static str {
            "get /"
        }
        fn kind(&self) -> Option<ursa_model::pipeline::processor::SpanKind> {
            Some(ursa_model::pipeline::processor::SpanKind::Server)
        }
        fn status(&self) -> ursa_model::pipeline::processor::SpanStatus {
            ursa_model::pipeline::processor::SpanStatus::Unset
        }
        fn duration(&self) -> std::time::Duration {
            std::time::Duration::from_millis(3)
        }
        fn attribute(&self, key: &str) -> Option<std::borrow::Cow<'_, str>> {
            (key == "http.path").then(|| "/healthz".into())
        }
        fn resource_attribute(&self, _: &str) -> Option<std::borrow::Cow<'_, str>> {
            None
        }
    }
    let rules = compile(&processors(json!([
        {"attributes": {"exclude": ["secret"], "hash": ["user"]}},
        {"filter": {"name": "health", "drop": [{"kind": "server", "attributes": {"http.path": {"exact": "/healthz"}}}]}},
    ])));
    assert_eq!(rules.keeps(&Native), Err("health".into()));
    assert_eq!(rules.attribute("secret", "x"), Verdict::Drop);
    assert_eq!(rules.attribute("other", "x"), Verdict::Keep);
    // `printf ada | sha256sum`
    assert_eq!(rules.attribute("user", "ada"), Verdict::Replace("fdee430d40bd57de".into()));
    let url = rules.attribute("http.url", "http://a:b@h/p?q=1");
    assert_eq!(url, Verdict::Replace("http://REDACTED:REDACTED@h/p?REDACTED".into()));
}

/// What the defaults leave of texts that hold a secret, under any key and as the span's name.
#[test]
fn no_secret_of_a_url_is_left() {
    let rules = compile(&[]);
    for (key, before, after) in [
        ("http.url", "https://u:p@h/x?t=1#f", "https://REDACTED:REDACTED@h/x?REDACTED"),
        ("http.url", "u:p@h:443", "REDACTED:REDACTED@h:443"),
        ("url.full", "https://h/x#t=1", "https://h/x#REDACTED"),
        ("http.target", "/x?t=1", "/x?REDACTED"),
        ("url.query", "t=1", "REDACTED"),
        ("url.fragment", "t=1", "REDACTED"),
        ("http.query.string", "t=1", "REDACTED"),
        ("peer.address", "mysql://u:p@h:3306", "mysql://REDACTED:REDACTED@h:3306"),
        ("db.connection_string", "jdbc:pg://u@h/d?password=p", "jdbc:pg://REDACTED@h/d?REDACTED"),
        ("http.response.header.location", "https://h/?code=1", "https://h/?REDACTED"),
        ("note", "see https://h/?code=1.", "see https://h/?REDACTED"),
        ("note", "{\"a\":\"http://u:p@h/\"}", "{\"a\":\"http://REDACTED:REDACTED@h/\"}"),
        ("note", "<ftp://u@h> or http://h/#f `x`", "<ftp://REDACTED@h> or http://h/#REDACTED `x`"),
        ("note", "amqp://a:1,amqp://u:p@b:2/v", "amqp://a:1,amqp://REDACTED:REDACTED@b:2/v"),
        ("note", "at http://a|http://u@b/#f.", "at http://a|http://REDACTED@b/#REDACTED"),
        ("note", "http://a/ became http://u@b/?q", "http://a/ became http://REDACTED@b/?REDACTED"),
        ("http.url", "http://a/get/https://u:p@b", "http://a/get/https://REDACTED:REDACTED@b"),
        ("url.path", "/get/https://u@b/", "/get/https://REDACTED@b/"),
        ("http.url", "http://a/?to=http://u:p@b/", "http://a/?REDACTED"),
        ("note", "why? ://x GET /p?code=1", "why? ://x GET /p?code=1"),
        ("http.route", "/x/{y?}", "/x/{y?}"),
    ] {
        let stays = before == after;
        let expected = if stays { Verdict::Keep } else { Verdict::Replace(after.into()) };
        assert_eq!(rules.attribute(key, before), expected, "{key}: {before}");
    }
    for (before, after) in [
        ("GET /x?t=1", Some("GET /x?REDACTED")),
        ("https://u:p@h/x HTTP/1.1", Some("https://REDACTED:REDACTED@h/x HTTP/1.1")),
        ("what?", None),
        ("/users/@me", None),
    ] {
        assert_eq!(rules.span_name(before).as_deref(), after, "{before}");
    }
}

/// Whom a client names in a URL is not written where no processor looks for credentials.
#[test]
fn the_server_is_named_without_credentials() {
    let rules = compile(&processors(json!([{"semanticConventions": {}}])));
    let mut span = envoy();
    span.attributes[3] = reference::pair("http.url", reference::text("http://u:p@backend:3001/"));
    let processed = rules.apply(Signal::Traces, &request(vec![span])).unwrap();
    let decoded = ExportTraceServiceRequest::decode(processed.request).unwrap();
    let lines = show(&decoded.resource_spans[0].scope_spans[0].spans[0]);
    assert!(lines.contains(&"server.address: \"backend\"".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("u:p")), "{lines:?}");
}

/// What the check notes hides no URL: wherever it stands, short or long, in whatever letters.
#[test]
fn no_secret_is_left_in_what_was_checked() {
    let rules = compile(&[]);
    let redacted = |signal, request: serde_json::Value| {
        let bytes: Bytes =
            crate::json::to_protobuf(signal, request.to_string().as_bytes()).unwrap().into();
        let found = wire::inspect(signal, &bytes).unwrap();
        let processed = rules.apply_checked(signal, &bytes, found).unwrap();
        assert_eq!(processed, rules.apply(signal, &bytes).unwrap());
        assert_eq!(found.plain_urls, processed.request == bytes);
        let text = crate::json::from_protobuf(signal, &processed.request).unwrap();
        assert!(!text.contains("secret"), "{text}");
        processed.request != bytes
    };
    let long = "x".repeat(200);
    for (key, value) in [
        ("url.query", "secret"),
        ("url.fragment", "secret"),
        ("http.query.string", "secret"),
        ("http.fragment.string", "secret"),
        ("http.path", "/?secret"),
        ("peer.address", "secret@h"),
        ("any", "a://h#secret"),
        ("any", "jdbc:postgresql+ssl://h/?secret"),
        ("ä", "http://secret@ö"),
        (&long, "http://secret@h"),
        ("any", &format!("http://{long}/?secret")),
        ("any", "nothing"),
    ] {
        let one = json!([{"key": "first", "value": {"intValue": "1"}}, {"key": key, "value": {"stringValue": value}}]);
        let list =
            json!([{"key": "list", "value": {"arrayValue": {"values": [{"stringValue": value}]}}}]);
        let known = !value.contains("://") && value != "nothing";
        for (attributes, expected) in
            [(one, value != "nothing"), (list, !known && value != "nothing")]
        {
            if !expected && known {
                continue;
            }
            let span = |span: serde_json::Value| json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
            let point = |data: serde_json::Value| json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [data]}]}]});
            for (signal, request) in [
                (Signal::Traces, span(json!({"attributes": attributes}))),
                (Signal::Traces, span(json!({"events": [{"attributes": attributes}]}))),
                (Signal::Traces, span(json!({"links": [{"attributes": attributes}]}))),
                (
                    Signal::Logs,
                    json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": attributes}]}]}]}),
                ),
                (
                    Signal::Metrics,
                    point(json!({"sum": {"dataPoints": [{"attributes": attributes}]}})),
                ),
                (
                    Signal::Metrics,
                    point(
                        json!({"gauge": {"dataPoints": [{"exemplars": [{"filteredAttributes": attributes}]}]}}),
                    ),
                ),
                (
                    Signal::Metrics,
                    point(json!({"histogram": {"dataPoints": [{"attributes": attributes}]}})),
                ),
                (
                    Signal::Metrics,
                    point(
                        json!({"exponentialHistogram": {"dataPoints": [{"attributes": attributes}]}}),
                    ),
                ),
                (
                    Signal::Metrics,
                    point(json!({"summary": {"dataPoints": [{"attributes": attributes}]}})),
                ),
            ] {
                assert_eq!(redacted(signal, request.clone()), expected, "{key} {request}");
            }
        }
    }
    let named = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "GET /?secret"}]}]}]});
    assert!(redacted(Signal::Traces, named));
    for message in ["get http://h/?secret: refused", "http://secret@h"] {
        let failed = json!({"status": {"message": message, "code": 2}});
        let failed = json!({"resourceSpans": [{"scopeSpans": [{"spans": [failed]}]}]});
        assert!(redacted(Signal::Traces, failed));
    }
}

/// All but what was redacted stays, and the status that conventions give is there.
#[test]
fn no_secret_of_a_url_is_left_in_a_status() {
    for (code, expected) in [(0, 2), (1, 1)] {
        for processors in [json!([]), json!([{"semanticConventions": {}}])] {
            let processors = self::processors(processors);
            let mut span = envoy();
            span.status = Some(Status { message: "get http://u:p@h/?a=1: refused".into(), code });
            let bytes = request(vec![span]);
            compare(&bytes, &processors);
            let processed = compile(&processors).apply(Signal::Traces, &bytes).unwrap();
            let decoded = decode(&processed.request);
            let status = decoded.resource_spans[0].scope_spans[0].spans[0].status.as_ref().unwrap();
            assert_eq!(status.message, "get http://REDACTED:REDACTED@h/?REDACTED refused");
            assert_eq!(status.code, if processors.is_empty() { code } else { expected });
        }
    }
}

/// Time that grows with the square of a text's length would be hours.
#[test]
fn many_urls_in_one_text_take_no_longer_than_it() {
    let rules = compile(&[]);
    for piece in ["a://", "://", "a://b,", "a://u@b/", "a://u@b "] {
        let text = piece.repeat(200_000) + "?";
        assert!(matches!(rules.attribute("note", &text), Verdict::Keep | Verdict::Replace(_)));
    }
}

#[test]
fn no_secret_of_a_url_is_left_in_a_logs_body() {
    let rules = compile(&[]);
    for (body, expected) in [
        (
            json!({"stringValue": "GET http://u:p@h/?a=1 took 3 ms"}),
            "GET http://REDACTED:REDACTED@h/?REDACTED took 3 ms",
        ),
        (json!({"stringValue": format!("{} http://h/#f", "x".repeat(300))}), "http://h/#REDACTED"),
        (json!({"stringValue": "http://h/ took 3 ms?"}), ""),
        (json!({"stringValue": "who? me@home: 3://"}), ""),
        (
            json!({"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "http://h/?a=1"}}]}}),
            "",
        ),
    ] {
        let attributes = json!([{"key": "k", "value": {"stringValue": "v"}}]);
        let log = json!({"body": body, "severityNumber": 9, "attributes": attributes});
        let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}).to_string();
        let request: Bytes =
            crate::json::to_protobuf(Signal::Logs, request.as_bytes()).unwrap().into();
        let found = wire::inspect(Signal::Logs, &request).unwrap();
        let processed = rules.apply_checked(Signal::Logs, &request, found).unwrap();
        assert_eq!(processed, rules.apply(Signal::Logs, &request).unwrap());
        if expected.is_empty() {
            assert_eq!(processed.request, request, "{body}");
            continue;
        }
        let text = crate::json::from_protobuf(Signal::Logs, &processed.request).unwrap();
        assert!(text.contains(expected) && !text.contains("u:p"), "{text}");
        assert!(text.contains(r#""severityNumber":9"#) && text.contains(r#""key":"k""#), "{text}");
    }
}

/// What is put on every resource in the next two tests.
fn put_on(request: &Bytes) -> Bytes {
    let set = BTreeMap::from([("service.name".to_owned(), "cart".to_owned())]);
    let rules = Rules::compile(&set, &BTreeMap::new(), &[]).unwrap();
    rules.apply(Signal::Traces, request).unwrap().request
}

#[test]
fn fields_of_a_newer_version_of_the_protocol_stay() {
    for number in [20, 2047, 2048, 40_000] {
        let mut unknown = Vec::new();
        put_bytes(&mut unknown, number, b"new");
        let mut scope = unknown.clone();
        put_bytes(&mut scope, 2, &unknown);
        let mut spans = unknown.clone();
        put_bytes(&mut spans, 1, &unknown);
        put_bytes(&mut spans, 2, &scope);
        let mut request = unknown.clone();
        put_bytes(&mut request, 1, &spans);
        let edited = put_on(&request.into());
        let count = edited.windows(unknown.len()).filter(|window| *window == unknown).count();
        assert_eq!(count, 5, "{number}");
        assert_eq!(wire::check(Signal::Traces, &edited), Ok(1));
    }
}

#[test]
fn a_length_may_take_a_byte_more_and_no_room_is_left() {
    for bytes in [60, 90, 110, 16_000, 16_360] {
        let before = request(vec![Span { name: "x".repeat(bytes), ..Span::default() }]);
        let after = put_on(&before);
        let mut expected = decode(&before);
        let attributes = strings(&[("service.name", "cart")]);
        let resource = Resource { attributes, ..Resource::default() };
        expected.resource_spans[0].resource = Some(resource);
        assert_eq!(decode(&after), expected);
        let length = after.len();
        let capacity = after.try_into_mut().unwrap().capacity();
        assert_eq!(capacity, length, "no more than the queue counts");
    }
}
