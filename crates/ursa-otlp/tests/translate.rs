//! Zipkin's and Datadog's spans into OTLP and back: every case is a file, and what becomes of it is
//! beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "translate/msgpack.rs"]
mod msgpack;

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::Value;
use ursa_otlp::{Signal, datadog, json, wire, zipkin};

const LIMIT: usize = 1 << 20;

/// One outcome a line per form, JSON as people read it.
#[derive(Default)]
struct Outcome(String);

impl Outcome {
    fn add(&mut self, title: &str, value: &Value) {
        writeln!(self.0, "# {title}\n{value:#}\n").unwrap();
    }
}

fn otlp(request: &[u8]) -> Value {
    wire::check(Signal::Traces, request).unwrap();
    short(serde_json::to_value(ExportTraceServiceRequest::decode(request).unwrap()).unwrap())
}

/// Without the fields that have their default.
fn short(value: Value) -> Value {
    let default = |value: &Value| match value {
        Value::Null => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) => false,
    };
    match value {
        Value::Array(list) => list.into_iter().map(short).collect(),
        Value::Object(map) => {
            let short = map.into_iter().map(|(key, value)| (key, short(value)));
            Value::Object(short.filter(|(_, value)| !default(value)).collect())
        }
        other => other,
    }
}

fn text(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn zipkin_and_back(outcome: &mut Outcome, list: &[u8]) {
    let spans = zipkin::check(list).unwrap();
    let proto = zipkin::to_proto(list).unwrap();
    let again = zipkin::from_proto(&proto).unwrap();
    assert_eq!(zipkin::check(&again).unwrap(), spans);
    assert_eq!(zipkin::to_proto(&again).unwrap(), proto);
    let request = zipkin::to_otlp(list).unwrap();
    assert_eq!(wire::check(Signal::Traces, &request), Ok(spans));
    outcome.add("OTLP", &otlp(&request));
    let (back, back_spans) = zipkin::from_otlp(&request, zipkin::TraceIds::Whole, LIMIT).unwrap();
    assert_eq!((zipkin::check(&back).unwrap(), back_spans), (spans, spans));
    outcome.add("back", &text(&back));
}

fn datadog_and_back(outcome: &mut Outcome, message: &[u8]) {
    let count = datadog::check(message).unwrap();
    let request = datadog::to_otlp(message).unwrap();
    assert_eq!(wire::check(Signal::Traces, &request), Ok(count.spans));
    outcome.add("OTLP", &otlp(&request));
    let (back, spans) = datadog::from_otlp(&request, datadog::Services::AsNamed, LIMIT).unwrap();
    assert_eq!(spans, count.spans);
    assert_eq!(datadog::check(&back).unwrap(), count);
    outcome.add("back", &msgpack::to_json(&back));
}

fn cases(folder: &str, outcome: impl Fn(&[u8]) -> Outcome) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new("translate").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::glob!("translate", &format!("{folder}/*.json"), |case| {
            let Outcome(text) = outcome(&std::fs::read(case).unwrap());
            insta::assert_snapshot!("becomes", text);
        });
    });
}

#[test]
fn zipkin_v2() {
    cases("zipkin", |list| {
        let mut outcome = Outcome::default();
        zipkin_and_back(&mut outcome, list);
        outcome
    });
}

#[test]
fn zipkin_v1() {
    cases("zipkin_v1", |list| {
        let mut outcome = Outcome::default();
        let list = zipkin::from_v1_json(list).unwrap();
        outcome.add("v2", &text(&list));
        zipkin_and_back(&mut outcome, &list);
        outcome
    });
}

#[test]
fn datadog_v04() {
    cases("datadog", |message| {
        let mut outcome = Outcome::default();
        let message = datadog::from_json(message).unwrap();
        datadog_and_back(&mut outcome, &message);
        outcome
    });
}

#[test]
fn datadog_v05() {
    cases("datadog_v05", |message| {
        let mut outcome = Outcome::default();
        let message = msgpack::of_json(&text(message));
        let message = datadog::from_v05(&message, LIMIT).unwrap();
        outcome.add("v0.4", &msgpack::to_json(&message));
        datadog_and_back(&mut outcome, &message);
        outcome
    });
}

#[test]
fn otlp_to_both() {
    cases("otlp", |request| {
        let mut outcome = Outcome::default();
        let request = json::to_protobuf(Signal::Traces, request).unwrap();
        let (list, spans) = zipkin::from_otlp(&request, zipkin::TraceIds::Whole, LIMIT).unwrap();
        assert_eq!(zipkin::check(&list).unwrap(), spans);
        outcome.add("Zipkin", &text(&list));
        let (message, spans) =
            datadog::from_otlp(&request, datadog::Services::AsNamed, LIMIT).unwrap();
        assert_eq!(datadog::check(&message).unwrap().spans, spans);
        outcome.add("Datadog", &msgpack::to_json(&message));
        outcome
    });
}

/// An error and its causes, as a receiver says it.
fn said(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[test]
fn what_zipkin_would_refuse_is_refused_in_words() {
    let mut outcome = String::new();
    for list in [
        r#"{"traceId":"1","id":"1"}"#,
        r#"[{"traceId":"1","id":"1"}"#,
        r#"[{"id":"1"}]"#,
        r#"[{"traceId":"1"}]"#,
        r#"[{"traceId":"0","id":"1"}]"#,
        r#"[{"traceId":"1","id":"1"},{"traceId":"1","id":"0"}]"#,
        r#"[{"traceId":"AB","id":"1"}]"#,
        r#"[{"traceId":"1","id":"11111111111111111"}]"#,
        r#"[{"traceId":"111111111111111111111111111111111","id":"1"}]"#,
        r#"[{"traceId":"1","id":"1","kind":"LOCAL"}]"#,
        r#"[{"traceId":"1","id":"1","timestamp":-1}]"#,
        r#"[{"traceId":"1","id":"1","duration":1.5}]"#,
        r#"[{"traceId":"1","id":"1","localEndpoint":{"port":65536}}]"#,
        r#"[{"traceId":"1","id":"1","annotations":[{"value":"a"}]}]"#,
        r#"[{"traceId":"1","id":"1","tags":{"a":null}}]"#,
        r#"[{"traceId":"1","id":"1","tags":["a"]}]"#,
    ] {
        let error = zipkin::check(list.as_bytes()).unwrap_err();
        writeln!(outcome, "{list}\n    {}", said(&error)).unwrap();
        assert!(zipkin::to_otlp(list.as_bytes()).is_err());
    }
    insta::assert_snapshot!(outcome);
}

#[test]
fn what_is_no_trace_is_refused_in_words() {
    let mut outcome = String::new();
    for message in [
        "{}",
        "[{}]",
        "[[1]]",
        r#"[[{"trace_id":1}]]"#,
        r#"[[{"trace_id":0,"span_id":1}]]"#,
        r#"[[{"trace_id":"a","span_id":1}]]"#,
        r#"[[{"trace_id":1,"span_id":1,"meta":{"a":1}}]]"#,
        r#"[[{"trace_id":1,"span_id":1,"metrics":{"a":"1"}}]]"#,
        r#"[[{"trace_id":1,"span_id":1,"start":18446744073709551615}]]"#,
        r#"[[{"trace_id":1,"span_id":1,"span_links":{"a":1}}]]"#,
    ] {
        let error = datadog::check(&datadog::from_json(message.as_bytes()).unwrap()).unwrap_err();
        writeln!(outcome, "{message}\n    {}", said(&error)).unwrap();
    }
    for message in [
        "[[]]",
        r#"[["a"],[[[0]]]]"#,
        r#"[["a"],[[[0,0,9,1,1,1,1,1,1,{},{},0]]]]"#,
        r#"[["a"],[[[0,0,0,1,1,1,1,1,1,{"0":9},{},0]]]]"#,
    ] {
        let error = datadog::from_v05(&msgpack::of_json(&text(message.as_bytes())), LIMIT);
        writeln!(outcome, "v0.5 {message}\n    {}", said(&error.unwrap_err())).unwrap();
    }
    for message in ["", "[", "[1,]", "[] x"] {
        let error = datadog::from_json(message.as_bytes()).unwrap_err();
        writeln!(outcome, "JSON {message}\n    {}", said(&error)).unwrap();
    }
    insta::assert_snapshot!(outcome);
}

/// A text of a table, or an attribute of a resource, stands once in what is sent and often in what
/// becomes of it.
#[test]
fn what_would_grow_without_bound_is_refused() {
    let table = [vec!["x".repeat(10_000)], vec![String::new()]].concat();
    let span = serde_json::json!([0, 0, 0, 1, 1, 0, 0, 0, 0, {}, {}, 0]);
    let message = msgpack::of_json(&serde_json::json!([table, [vec![span; 1000]]]));
    let error = datadog::from_v05(&message, LIMIT).unwrap_err();
    assert!(matches!(error, datadog::DatadogError::TooLarge { limit: LIMIT }), "{error}");

    let attribute = serde_json::json!({"key": "a", "value": {"stringValue": "x".repeat(10_000)}});
    let id = |number: usize| format!("{number:016x}");
    let spans: Vec<_> = (1..1000)
        .map(|at| serde_json::json!({"traceId": id(at).repeat(2), "spanId": id(at)}))
        .collect();
    let request = serde_json::json!({"resourceSpans": [
        {"resource": {"attributes": [attribute]}, "scopeSpans": [{"spans": spans}]}]});
    let request = json::to_protobuf(Signal::Traces, request.to_string().as_bytes()).unwrap();
    let error = datadog::from_otlp(&request, datadog::Services::AsNamed, LIMIT).unwrap_err();
    assert!(matches!(error, datadog::DatadogError::TooLarge { limit: LIMIT }), "{error}");
    let error = zipkin::from_otlp(&request, zipkin::TraceIds::Whole, LIMIT).unwrap_err();
    assert!(matches!(error, zipkin::ZipkinError::TooLarge { limit: LIMIT }), "{error}");
}

/// What MeshTrace's `traceId128bit: false` and `splitService: true` ask for.
#[test]
fn ids_are_shortened_and_services_split_where_that_is_asked_for() {
    let attribute = |(key, value): (&str, &str)| serde_json::json!({"key": key, "value": {"stringValue": value}});
    let span = |(id, kind, attributes): (&str, u32, &[(&str, &str)])| {
        let attributes: Vec<_> = attributes.iter().copied().map(attribute).collect();
        let trace = format!("463ac35c9f6413ad48485a3953bb612{id}");
        let links = [serde_json::json!({"traceId": trace, "spanId": "00000000000000aa"})];
        serde_json::json!({"traceId": trace, "spanId": format!("000000000000000{id}"),
            "kind": kind, "attributes": attributes, "links": links})
    };
    let spans = [
        ("1", 2, &[("component", "proxy"), ("upstream_cluster", "local:80")][..]),
        ("2", 3, &[("envoy.component", "proxy"), ("envoy.upstream_cluster", "cart:v=1")]),
        ("3", 3, &[("component", "proxy")]),
        ("4", 2, &[("component", "grpc")]),
    ]
    .map(span);
    let resource = serde_json::json!({"attributes": [attribute(("service.name", "shop"))]});
    let request = serde_json::json!({"resourceSpans": [
        {"resource": resource, "scopeSpans": [{"spans": spans}]}]});
    let request = json::to_protobuf(Signal::Traces, request.to_string().as_bytes()).unwrap();

    let (list, spans) = zipkin::from_otlp(&request, zipkin::TraceIds::Lower, LIMIT).unwrap();
    let list = text(&list);
    assert_eq!((spans, &list[0]["traceId"]), (4, &"48485a3953bb6121".into()));
    let link = list[0]["tags"]["otlp.link.0"].as_str().unwrap();
    assert!(link.starts_with("000000000000000048485a3953bb6121|"), "{link}");

    let split = datadog::Services::ByDirection;
    let (message, _) = datadog::from_otlp(&request, split, LIMIT).unwrap();
    let again = datadog::to_otlp(&message).unwrap();
    let mut services: Vec<_> = otlp(&again)["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|resource| resource["resource"]["attributes"].as_array().unwrap().clone())
        .filter(|attribute| attribute["key"] == "service.name")
        .map(|attribute| attribute["value"]["stringValue"].as_str().unwrap().to_owned())
        .collect();
    services.sort();
    assert_eq!(services, ["shop", "shop_INBOUND", "shop_OUTBOUND", "shop_OUTBOUND_cart"]);
}

#[test]
fn joined_messages_are_one() {
    let lists =
        ["[]", " [ {\"traceId\":\"1\",\"id\":\"1\"} ] ", "[{\"traceId\":\"2\",\"id\":\"2\"}]"];
    let lists = lists.map(|list| list.as_bytes().into());
    assert_eq!(zipkin::check(&zipkin::join(&lists).concat()).unwrap(), 2);
    assert_eq!(zipkin::join([]).concat(), b"[]");

    let message = |traces: usize| {
        let trace = serde_json::json!([{"trace_id": 1, "span_id": 1}]);
        msgpack::of_json(&vec![trace; traces].into()).into()
    };
    for sizes in [&[][..], &[0], &[1, 0, 2], &[10, 10], &[40_000, 40_000]] {
        let messages: Vec<_> = sizes.iter().map(|size| message(*size)).collect();
        let joined = datadog::join(&messages);
        assert_eq!(joined.traces, sizes.iter().sum::<usize>());
        assert_eq!(datadog::check(&joined.pieces.concat()).unwrap().traces, joined.traces);
    }
}

#[test]
fn pieces_are_small_and_lose_nothing() {
    let spans: Vec<_> = (1..=50_u32)
        .map(|id| serde_json::json!({"traceId": "1", "id": format!("{id:x}"), "name": "[{,\"}]".repeat(9)}))
        .collect();
    let list: Bytes = serde_json::to_string_pretty(&spans).unwrap().into();
    let traces: Vec<_> = (1..=50_u32)
        .map(|id| {
            let span =
                serde_json::json!({"trace_id": id, "span_id": 1, "resource": "x".repeat(80)});
            vec![span; (id % 4) as usize]
        })
        .collect();
    let message: Bytes = msgpack::of_json(&serde_json::json!(traces)).into();
    for max in [0, 100, 700, 3000, usize::MAX] {
        let pieces = zipkin::split(&list, max).unwrap();
        for (piece, spans) in &pieces {
            assert_eq!(zipkin::check(piece).unwrap(), *spans);
            assert!(piece.len() <= max || *spans == 1, "{} of {max}", piece.len());
        }
        let joined = zipkin::join(pieces.iter().map(|(piece, _)| piece)).concat();
        assert_eq!(
            serde_json::from_slice::<Value>(&joined).unwrap(),
            serde_json::json!(spans),
            "{max}"
        );

        let pieces = datadog::split(&message, max).unwrap();
        for (piece, spans) in &pieces {
            let count = datadog::check(piece).unwrap();
            assert_eq!(count.spans, *spans);
            assert!(piece.len() <= max || count.traces == 1, "{} of {max}", piece.len());
        }
        let joined = datadog::join(pieces.iter().map(|(piece, _)| piece)).pieces.concat();
        let otlp = datadog::to_otlp(&joined).unwrap();
        assert!(otlp == datadog::to_otlp(&message).unwrap(), "{max}");
    }
    assert!(zipkin::split(b"[ ]", 0).unwrap().is_empty());
    zipkin::split(b"[{}", 0).unwrap_err();
    datadog::split(b"\x91", 0).unwrap_err();
}

/// A copy of the resource's attributes for each scope would take hours.
#[test]
fn scopes_without_spans_cost_nothing() {
    let attribute = |number: usize| serde_json::json!({"key": format!("{number:x}")});
    let attributes: Vec<_> = (0..20_000).map(attribute).collect();
    let scopes = vec![serde_json::json!({}); 200_000];
    let request = serde_json::json!({"resourceSpans": [
        {"resource": {"attributes": attributes}, "scopeSpans": scopes},
    ]});
    let request = json::to_protobuf(Signal::Traces, request.to_string().as_bytes()).unwrap();
    assert_eq!(
        zipkin::from_otlp(&request, zipkin::TraceIds::Whole, LIMIT).unwrap(),
        (b"[]".to_vec(), 0)
    );
    assert_eq!(datadog::from_otlp(&request, datadog::Services::AsNamed, LIMIT).unwrap().1, 0);
}
