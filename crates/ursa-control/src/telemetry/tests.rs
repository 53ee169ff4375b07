//! The window against a model that keeps everything in plain lists.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use ursa_pipeline::{Received, Refusal, Signal, Sink};

use super::testing::{Sample, attribute, request};
use super::*;

const LARGE: u64 = 64 << 20;

fn listed(window: &Window, query: &TraceQuery) -> Vec<TraceSummary> {
    window.traces(query).now_or_never().expect("a small window is searched in one step")
}

#[test]
fn a_trace_that_grows_while_it_is_searched_is_listed_once() {
    let window = Window::new(LARGE);
    let large = "x".repeat(10_000);
    for trace in 1..=100 {
        let start = u64::from(trace) * 1_000_000_000;
        let span = Sample::span(trace, 1, 0).at(start, start + 1).tag("k", "v").tag("x", &large);
        window.store(&request("cart", [span])).unwrap();
    }
    let tags = vec![("k".to_owned(), "v".to_owned())];
    let query = TraceQuery { tags, limit: MAX_LIMIT, ..TraceQuery::default() };
    let mut search = Search::default();
    assert!(!query.step(&window.state().traces, &mut search), "a second step is needed");
    window.store(&request("cart", [Sample::span(100, 2, 1).at(1, 2)])).unwrap();
    while !query.step(&window.state().traces, &mut search) {}
    assert_eq!(search.found.len(), 100);
}

fn id(trace: u8) -> TraceId {
    TraceId::from_bytes(&[trace; 16]).unwrap()
}

#[test]
fn a_trace_is_put_together_from_several_requests() {
    let window = Window::new(LARGE);
    let failing =
        Sample::span(1, 3, 2).at(1_200_000_000, 1_900_000_000).tag("http.status_code", "503");
    window.store(&request("payments", [failing])).unwrap();
    window
        .store(&request("cart", [Sample::span(1, 2, 1).at(1_100_000_000, 1_950_000_000)]))
        .unwrap();
    window.store(&request("frontend", [Sample::span(1, 1, 0)])).unwrap();

    let summary = &listed(&window, &TraceQuery::default())[0];
    insta::assert_snapshot!(serde_json::to_string_pretty(summary).unwrap(), @r#"
    {
      "traceId": "01010101010101010101010101010101",
      "root": {
        "service": "frontend",
        "name": "span 1"
      },
      "start": "1970-01-01T00:00:01Z",
      "durationMs": 1000.0,
      "spans": 3,
      "services": [
        {
          "name": "cart",
          "spans": 1
        },
        {
          "name": "frontend",
          "spans": 1
        },
        {
          "name": "payments",
          "spans": 1
        }
      ],
      "errors": 1
    }
    "#);
    let trace = window.trace(id(1)).unwrap();
    let tree: Vec<_> = trace
        .spans
        .iter()
        .map(|span| (span.depth, &*span.service, span.start_ms, span.error))
        .collect();
    assert_eq!(
        tree,
        [(0, "frontend", 0.0, false), (1, "cart", 100.0, false), (2, "payments", 200.0, true)]
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&trace.spans[2]).unwrap(), @r#"
    {
      "spanId": "0303030303030303",
      "parentSpanId": "0202020202020202",
      "depth": 2,
      "service": "payments",
      "name": "span 3",
      "kind": "server",
      "startMs": 200.0,
      "durationMs": 700.0,
      "error": true,
      "status": "unset",
      "attributes": {
        "http.status_code": "503"
      },
      "resource": {
        "service.name": "payments"
      }
    }
    "#);
}

#[test]
fn otlp_gives_back_what_came() {
    let window = Window::new(LARGE);
    let spans = [Sample::span(1, 1, 0).tag("a", "b"), Sample::span(1, 2, 1)];
    let sent = request("cart", spans);
    window.store(&sent).unwrap();
    let back = window.otlp(id(1)).unwrap();
    assert_eq!(back.encode_to_vec(), sent);
    let json = serde_json::to_value(&back).unwrap();
    let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(
        (&span["traceId"], &span["spanId"]),
        (&"01".repeat(16).into(), &"01".repeat(8).into())
    );
    assert_eq!(serde_json::from_value::<TracesData>(json).unwrap(), back);
}

#[test]
fn what_is_sent_twice_is_kept_and_counted_once() {
    let window = Window::new(LARGE);
    for _ in 0..2 {
        window.store(&request("cart", [Sample::span(1, 1, 0)])).unwrap();
    }
    window.store(&request("cart", [Sample::span(1, 1, 0).tag("shared", "id")])).unwrap();
    let totals = window.totals();
    assert_eq!((totals.spans_received, totals.spans_held, totals.spans_repeated), (3, 2, 1));
    let cart = &window.services(Duration::from_mins(1)).services[0];
    assert!((cart.requests_per_second - 2.0).abs() < f64::EPSILON, "{cart:?}");
}

#[test]
fn bad_spans_are_refused_and_good_ones_beside_them_kept() {
    let window = Window::new(LARGE);
    window
        .store(&request(
            "cart",
            [Sample::span(0, 1, 0), Sample::span(1, 1, 0), Sample::span(1, 0, 0)],
        ))
        .unwrap();
    let totals = window.totals();
    assert_eq!((totals.spans_received, totals.spans_held, totals.spans_refused), (3, 1, 2));
    assert!(matches!(window.store(b"\x0a\x05x"), Err(Refusal::Invalid { .. })));
}

#[test]
fn only_traces_are_taken() {
    let window = Window::new(LARGE);
    let taken = |signal| {
        window
            .accept(Received::otlp(
                signal,
                Bytes::from(request("cart", [Sample::span(1, 1, 0)])),
                1,
                &"test".into(),
            ))
            .now_or_never()
            .unwrap()
    };
    assert_eq!(taken(Signal::Traces), Ok(()));
    assert_eq!(taken(Signal::Logs), Err(Refusal::Unsupported { signal: Signal::Logs }));
    assert_eq!(window.totals().spans_held, 1);
}

#[test]
fn the_oldest_trace_leaves_first_and_whole() {
    let window = Window::new(8 << 10);
    let big = |trace: u8| {
        (1..=5).map(move |span| Sample::span(trace, span, 0).tag("x", &"y".repeat(500)))
    };
    for trace in 1..=3 {
        window.store(&request("cart", big(trace))).unwrap();
    }
    let held: Vec<_> =
        listed(&window, &TraceQuery::default()).iter().map(|t| (t.trace_id, t.spans)).collect();
    assert_eq!(held, [(id(3), 5), (id(2), 5)]);
    assert_eq!(window.totals().evicted_traces, 1);
    window.store(&request("cart", [Sample::span(1, 9, 5)])).unwrap();
    assert_eq!(window.trace(id(1)).unwrap().spans.len(), 1, "a late span begins anew");
}

#[test]
fn a_trace_larger_than_the_window_is_cut_and_the_rest_counted() {
    let window = Window::new(8 << 10);
    let spans = (1..=100).map(|span| Sample::span(1, span, 0).tag("x", &"y".repeat(500)));
    window.store(&request("cart", spans)).unwrap();
    window.state().traces.audit();
    let totals = window.totals();
    assert_eq!(totals.spans_held as u64 + totals.spans_refused, 100);
    assert!(totals.spans_held > 8 && totals.bytes_held <= 8 << 10, "{totals:?}");
}

#[test]
fn a_trace_has_a_bound_of_spans() {
    let window = Window::new(LARGE);
    let spans = (0..=MAX_SPANS_PER_TRACE as u64).map(|span| {
        let mut sample = Sample::span(1, 1, 0);
        sample.0.span_id = (span + 1).to_be_bytes().to_vec();
        sample
    });
    window.store(&request("cart", spans)).unwrap();
    assert_eq!(
        (window.totals().spans_held, window.totals().spans_refused),
        (MAX_SPANS_PER_TRACE, 1)
    );
}

#[tokio::test]
async fn a_search_through_a_large_window_lets_others_in() {
    let window = Window::new(LARGE);
    for trace in 0..4000_u16 {
        let mut span =
            Sample::span(1, 1, 0).tag("n", &trace.to_string()).tag("padding", &"x".repeat(400));
        span.0.trace_id[..2].copy_from_slice(&trace.to_be_bytes());
        window.store(&request("cart", [span])).unwrap();
    }
    let query =
        TraceQuery { tags: vec![("n".to_owned(), "0".to_owned())], ..TraceQuery::default() };
    assert!(window.traces(&query).now_or_never().is_none(), "it takes several steps");
    assert_eq!(window.traces(&query).await.len(), 1);
}

/// A span as the model sees it.
#[derive(Debug, Clone)]
struct Plain {
    service: &'static str,
    trace: u8,
    span: u8,
    parent: u8,
    start: u64,
    length: u64,
    failed: bool,
    tag: u8,
    padding: usize,
}

impl Plain {
    fn sample(&self) -> Sample {
        let mut sample = Sample::span(self.trace, self.span, self.parent)
            .at(self.start, self.start + self.length)
            .tag("tag", &self.tag.to_string())
            .tag("padding", &"x".repeat(self.padding));
        sample.0.status =
            Some(Status { code: if self.failed { 2 } else { 0 }, ..Status::default() });
        sample
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let services = prop::sample::select(&["frontend", "cart", "payments"][..]);
    (
        services,
        1_u8..12,
        1_u8..=255,
        0_u8..6,
        0_u64..5_000,
        0_u64..3_000,
        any::<bool>(),
        0_u8..4,
        0_usize..900,
    )
        .prop_map(|(service, trace, span, parent, start, length, failed, tag, padding)| {
            Plain {
                service,
                trace,
                span,
                parent,
                start: start * 1_000_000,
                length: length * 1_000_000,
                failed,
                tag,
                padding,
            }
        })
}

fn queries() -> impl Strategy<Value = TraceQuery> {
    let service = prop::option::of(prop::sample::select(&["frontend", "cart", "nobody"][..]));
    (
        service,
        0_u64..4_000,
        any::<bool>(),
        prop::option::of(0_u8..5),
        prop::option::of(0_i64..5_000),
        1_usize..15,
    )
        .prop_map(|(service, min_duration, errors, tag, since, limit)| TraceQuery {
            service: service.map(str::to_owned),
            min_duration: Duration::from_millis(min_duration),
            errors,
            tags: tag.map(|tag| ("tag".to_owned(), tag.to_string())).into_iter().collect(),
            since: since.map(|millis| Timestamp::from_millisecond(millis).unwrap()),
            limit,
        })
}

/// The starts of what `query` should find, newest first.
fn expected(traces: &BTreeMap<u8, Vec<Plain>>, query: &TraceQuery) -> Vec<i128> {
    let matching = traces.values().filter(|spans| {
        let start = spans.iter().map(|span| span.start).min().unwrap();
        let end = spans.iter().map(|span| span.start + span.length).max().unwrap();
        query
            .service
            .as_ref()
            .is_none_or(|service| spans.iter().any(|span| span.service == service))
            && Duration::from_nanos(end - start) >= query.min_duration
            && (!query.errors || spans.iter().any(|span| span.failed))
            && query
                .tags
                .iter()
                .all(|(_, tag)| spans.iter().any(|span| span.tag.to_string() == *tag))
            && query.since.is_none_or(|since| i128::from(start) >= since.as_nanosecond())
    });
    let mut starts: Vec<_> =
        matching.map(|spans| spans.iter().map(|span| span.start).min().unwrap()).collect();
    starts.sort_unstable_by(|a, b| b.cmp(a));
    starts.truncate(query.limit);
    starts.into_iter().map(i128::from).collect()
}

proptest! {
    #[test]
    fn queries_agree_with_the_model(batches in vec(vec(plain(), 1..8), 0..12), queries in vec(queries(), 5)) {
        let window = Window::new(LARGE);
        let mut model: BTreeMap<u8, Vec<Plain>> = BTreeMap::new();
        for span in batches.into_iter().flatten() {
            window.store(&request(span.service, [span.sample()])).unwrap();
            model.entry(span.trace).or_default().push(span);
        }
        for query in queries {
            let found = listed(&window, &query);
            let starts: Vec<_> = found.iter().map(|trace| trace.start.as_nanosecond()).collect();
            prop_assert_eq!(starts, expected(&model, &query));
        }
        for trace in listed(&window, &TraceQuery { limit: MAX_LIMIT, ..TraceQuery::default() }) {
            let spans = model.iter().find(|(number, _)| id(**number) == trace.trace_id).unwrap().1;
            prop_assert_eq!(trace.errors as usize, spans.iter().filter(|span| span.failed).count());
            prop_assert_eq!(window.trace(trace.trace_id).unwrap().spans.len(), trace.spans);
        }
    }

    #[test]
    fn the_account_is_exact_and_never_above_the_limit(spans in vec(plain(), 0..150), kib in 2_u64..40) {
        let window = Window::new(kib << 10);
        let mut sent: BTreeMap<u8, usize> = BTreeMap::new();
        for span in spans {
            let held_before = window.trace(id(span.trace)).map_or(0, |trace| trace.spans.len());
            let totals_before = window.totals();
            window.store(&request(span.service, [span.sample()])).unwrap();
            window.state().traces.audit();
            let kept = window.totals().spans_refused == totals_before.spans_refused
                && window.totals().spans_repeated == totals_before.spans_repeated;
            let held = window.trace(id(span.trace)).map_or(0, |trace| trace.spans.len());
            prop_assert_eq!(held, held_before + usize::from(kept), "a trace only grows, or is gone as a whole");
            *sent.entry(span.trace).or_default() += usize::from(kept);
        }
        prop_assert!(window.totals().spans_held <= sent.values().sum());
    }

    #[test]
    fn any_decoded_request_is_taken_and_shown(spans in vec(any_span(), 0..20), service in ".{0,20}") {
        let window = Window::new(64 << 10);
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Sample::resource(&service) }];
        window.store(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
        window.state().traces.audit();
        window.services(Duration::from_secs(1));
        for trace in listed(&window, &TraceQuery::default()) {
            let detail = window.trace(trace.trace_id).unwrap();
            prop_assert_eq!(detail.spans.len(), trace.spans);
            prop_assert!(detail.spans.iter().all(|span| span.start_ms >= 0.0 && span.duration_ms >= 0.0));
            serde_json::to_string(&detail).unwrap();
            serde_json::to_string(&window.otlp(trace.trace_id).unwrap()).unwrap();
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes: Vec<u8>) {
        let window = Window::new(64 << 10);
        drop(window.store(&bytes));
        window.state().traces.audit();
    }
}

fn any_span() -> impl Strategy<Value = Span> {
    let value = prop_oneof![
        ".{0,40}".prop_map(any_value::Value::StringValue),
        any::<bool>().prop_map(any_value::Value::BoolValue),
        any::<i64>().prop_map(any_value::Value::IntValue),
        any::<f64>().prop_map(any_value::Value::DoubleValue),
        vec(any::<u8>(), 0..9).prop_map(any_value::Value::BytesValue),
    ];
    let ids = (1_u8..4, prop::sample::select(vec![0_usize, 8, 16]), 0_u8..9, 0_u8..9);
    let keys = prop::sample::select(&["error", "http.status_code", "grpc.status_code", "x"][..]);
    (
        ids,
        any::<i32>(),
        any::<u64>(),
        any::<u64>(),
        vec((keys, value), 0..5),
        any::<i32>(),
        ".{0,9}",
    )
        .prop_map(
            |((trace, length, span, parent), kind, start, end, attributes, code, name)| Span {
                trace_id: vec![trace; 16],
                span_id: vec![span; 8],
                parent_span_id: vec![parent; length],
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: end,
                attributes: attributes
                    .into_iter()
                    .map(|(key, value)| attribute(key, value))
                    .collect(),
                status: Some(Status { code, message: name.clone() }),
                name,
                ..Span::default()
            },
        )
}
