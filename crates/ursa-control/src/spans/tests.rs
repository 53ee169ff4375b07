use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ursa_metrics::Registry;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in lines.iter().map(pair) {
        map.append(name, value);
    }
    map
}

fn caller(lines: &[(&'static str, &str)]) -> Option<Context> {
    incoming::read(&headers(lines), &["team".to_owned()])
}

fn tracer(sampling: u32) -> (Tracer, mpsc::Receiver<Record>) {
    Tracer::new(sampling, Vec::new(), &Registry::new(&[]))
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::in_mesh("MeshTrace", "default", name)
}

fn attribute(record: &Record, key: &str) -> Option<String> {
    let found = record.attributes.iter().find(|known| known.key == key)?;
    Some(format!("{:?}", found.value.as_ref()?.value.as_ref()?))
}

#[test]
fn a_callers_trace_goes_on() {
    let (tracer, mut spans) = tracer(0);
    let parent = caller(&[
        ("traceparent", PARENT),
        ("tracestate", "a=1, b=2"),
        ("tracestate", "c=3"),
        ("baggage", "other=x,team=a%20b;p=1"),
    ]);
    let child = tracer.child("outer", SpanKind::Server, parent.as_ref());
    drop(tracer.child("inner", SpanKind::Internal, child.context().as_ref()));
    drop(child);
    let (inner, outer) = (spans.try_recv().unwrap(), spans.try_recv().unwrap());
    assert_eq!(outer.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(inner.parent_span_id, outer.span_id);
    for span in [&inner, &outer] {
        assert_eq!(span.trace_id[..4], [0x0a, 0xf7, 0x65, 0x19]);
        assert_eq!(span.trace_state, "a=1,b=2,c=3");
        assert_eq!(attribute(span, "team").unwrap(), r#"StringValue("a b")"#);
        assert_eq!(span.attributes.len(), 1, "no baggage that nobody asked for");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
}

#[test]
fn a_callers_no_is_a_no() {
    let (tracer, mut spans) = tracer(1_000_000);
    let parent = caller(&[("traceparent", &PARENT.replace("-01", "-00"))]);
    let outer = tracer.child("outer", SpanKind::Server, parent.as_ref());
    assert!(!outer.is_recorded());
    drop(tracer.child("inner", SpanKind::Internal, outer.context().as_ref()));
    drop(outer);
    assert!(spans.try_recv().is_err());
}

#[test]
fn what_is_no_trace_context_is_nothing() {
    let wrong = [&[("traceparent", "00-0-0-01")][..], &[], &[("traceparent", PARENT); 2]];
    assert!(wrong.into_iter().all(|lines| caller(lines).is_none()));
    let long = format!("a={}", "x".repeat(255));
    let state = vec![("tracestate", long.as_str()); 3];
    let parent = caller(&[&[("traceparent", PARENT)], state.as_slice()].concat());
    let (tracer, mut spans) = tracer(0);
    drop(tracer.child("x", SpanKind::Server, parent.as_ref()));
    assert!(spans.try_recv().unwrap().trace_state.len() <= 512);
}

#[test]
fn a_share_of_traces_is_recorded() {
    let (tracer, mut spans) = tracer(250_000);
    for _ in 0..4000 {
        drop(tracer.root("x"));
    }
    let mut recorded = 0;
    while spans.try_recv().is_ok() {
        recorded += 1;
    }
    assert!((800..1200).contains(&recorded), "{recorded} of 4000");
}

#[tokio::test]
async fn a_change_is_part_of_what_wrote_it() {
    let (tracer, mut spans) = tracer(1_000_000);
    let mut writers = Vec::new();
    for name in ["a", "b"] {
        let span = tracer.root("writer");
        let write = async { tracer.causes([key(name)].iter()) };
        CURRENT.scope(span.context().unwrap(), write).await;
        drop(span);
        writers.push(spans.try_recv().unwrap());
    }
    drop(tracer.caused_by("plan", [key("a"), key("b"), key("c")].iter()));
    let plan = spans.try_recv().unwrap();
    assert_eq!(plan.parent_span_id, writers[0].span_id);
    assert_eq!(plan.trace_id, writers[0].trace_id);
    assert_eq!(plan.links.len(), 1);
    assert_eq!(plan.links[0].span_id, writers[1].span_id);

    // Taken once; and somebody who writes for nobody takes the cause away.
    let write = async { tracer.causes([key("a")].iter()) };
    CURRENT.scope(tracer.root("writer").context().unwrap(), write).await;
    spans.try_recv().unwrap();
    tracer.causes([key("a")].iter());
    drop(tracer.caused_by("plan", [key("a"), key("b")].iter()));
    assert!(spans.try_recv().unwrap().parent_span_id.is_empty());
}

#[test]
fn too_many_are_dropped_and_counted() {
    let registry = Registry::new(&[]);
    let (tracer, spans) = Tracer::new(1_000_000, Vec::new(), &registry);
    for _ in 0..MAX_WAITING + 3 {
        drop(tracer.root("x"));
    }
    assert_eq!(spans.len(), MAX_WAITING);
    assert!(registry.encode().contains("ursa_cp_own_spans_total{result=\"dropped\"} 3\n"));
}

#[test]
fn one_that_is_off_makes_nothing() {
    let tracer = Tracer::default();
    assert!(tracer.root("x").context().is_none());
    tracer.causes([key("a")].iter());
    assert!(tracer.caused_by("x", [key("a")].iter()).context().is_none());
}
