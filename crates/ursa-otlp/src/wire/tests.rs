//! The wire views against prost's decoder and encoder.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary,
    SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data,
    number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::Signal;

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        ".{0,8}".prop_map(|text| Some(Any::StringValue(text))),
        any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(Any::IntValue(value))),
        (-1e9..1e9_f64).prop_map(|value| Some(Any::DoubleValue(value))),
        vec(any::<u8>(), 0..5).prop_map(|value| Some(Any::BytesValue(value))),
    ];
    leaf.prop_map(|value| AnyValue { value }).prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            vec(("[a-c]", inner), 0..3).prop_map(|values| {
                let values = values.into_iter().map(|(key, value)| key_value(key, value));
                Any::KvlistValue(KeyValueList { values: values.collect() })
            }),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn key_value(key: String, value: AnyValue) -> KeyValue {
    KeyValue { key, value: Some(value), ..KeyValue::default() }
}

/// Few keys, so that they collide with one another.
fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(("[a-f]|service.name", any_value()), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| key_value(key, value)).collect())
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    prop::option::of((attributes(), 0..3_u32).prop_map(|(attributes, dropped)| Resource {
        attributes,
        dropped_attributes_count: dropped,
        ..Resource::default()
    }))
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    prop::option::of((".{0,5}", attributes()).prop_map(|(name, attributes)| InstrumentationScope {
        name,
        attributes,
        ..InstrumentationScope::default()
    }))
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 8]>(), any::<u64>());
    (ids, ".{0,9}", attributes(), 0..6_i32, any::<u32>()).prop_map(
        |((trace, span, time), name, attributes, kind, flags)| Span {
            trace_id: trace.into(),
            span_id: span.into(),
            start_time_unix_nano: time,
            name,
            kind,
            flags,
            events: vec![Event { attributes: attributes.clone(), ..Event::default() }],
            links: vec![Link { span_id: vec![1; 8], flags, ..Link::default() }],
            attributes,
            status: Some(Status { message: "late".into(), code: 2 }),
            ..Span::default()
        },
    )
}

fn resource_spans() -> impl Strategy<Value = ResourceSpans> {
    let scope_spans = (scope(), vec(span(), 0..3)).prop_map(|(scope, spans)| ScopeSpans {
        scope,
        spans,
        schema_url: "s".into(),
    });
    (resource(), vec(scope_spans, 0..3), ".{0,3}").prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url },
    )
}

fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    vec(resource_spans(), 0..4)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn metric() -> impl Strategy<Value = Metric> {
    let number = number_data_point::Value::AsDouble(1.5);
    let exemplar = Exemplar { value: Some(exemplar::Value::AsInt(-1)), ..Exemplar::default() };
    (attributes(), 0..3_usize, 0..4_u8, vec(any::<u64>(), 0..4)).prop_map(
        move |(attributes, points, kind, counts)| {
            let exemplars = vec![exemplar.clone()];
            let data = match kind {
                0 => Data::Gauge(Gauge {
                    data_points: std::iter::repeat_with(|| NumberDataPoint {
                        attributes: attributes.clone(),
                        exemplars: exemplars.clone(),
                        value: Some(number),
                        ..NumberDataPoint::default()
                    })
                    .take(points)
                    .collect(),
                }),
                1 => {
                    let point = HistogramDataPoint {
                        bucket_counts: counts,
                        explicit_bounds: vec![0.5, 1.0],
                        min: Some(0.1),
                        ..HistogramDataPoint::default()
                    };
                    Data::Histogram(Histogram {
                        data_points: vec![point; points],
                        aggregation_temporality: 2,
                    })
                }
                2 => {
                    let point = ExponentialHistogramDataPoint {
                        scale: -3,
                        negative: Some(Buckets { offset: -9, bucket_counts: counts }),
                        zero_threshold: 0.25,
                        ..ExponentialHistogramDataPoint::default()
                    };
                    Data::ExponentialHistogram(ExponentialHistogram {
                        data_points: vec![point; points],
                        aggregation_temporality: 1,
                    })
                }
                _ => {
                    let quantile = ValueAtQuantile { quantile: 0.5, value: 3.0 };
                    let point = SummaryDataPoint {
                        quantile_values: vec![quantile],
                        ..SummaryDataPoint::default()
                    };
                    Data::Summary(Summary { data_points: vec![point; points] })
                }
            };
            Metric { name: "m".into(), data: Some(data), ..Metric::default() }
        },
    )
}

fn points(metric: &Metric) -> usize {
    match metric.data.as_ref().unwrap() {
        Data::Gauge(data) => data.data_points.len(),
        Data::Sum(data) => data.data_points.len(),
        Data::Histogram(data) => data.data_points.len(),
        Data::ExponentialHistogram(data) => data.data_points.len(),
        Data::Summary(data) => data.data_points.len(),
    }
}

fn decode(request: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(request).unwrap()
}

proptest! {
    #[test]
    fn spans_are_counted(request in traces()) {
        let scopes = request.resource_spans.iter().flat_map(|spans| &spans.scope_spans);
        let count = scopes.map(|scope| scope.spans.len()).sum();
        prop_assert_eq!(check(Signal::Traces, &request.encode_to_vec()), Ok(count));
    }

    #[test]
    fn points_are_counted(metrics in vec(metric(), 0..5)) {
        let count = metrics.iter().map(points).sum();
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let request = ExportMetricsServiceRequest { resource_metrics };
        prop_assert_eq!(check(Signal::Metrics, &request.encode_to_vec()), Ok(count));
    }

    #[test]
    fn records_are_counted(bodies in vec(any_value(), 0..5), attributes in attributes()) {
        let count = bodies.len();
        let record = |body| LogRecord {
            body: Some(body),
            attributes: attributes.clone(),
            severity_text: "WARN".into(),
            event_name: "e".into(),
            ..LogRecord::default()
        };
        let log_records = bodies.into_iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
        };
        prop_assert_eq!(check(Signal::Logs, &request.encode_to_vec()), Ok(count));
    }

    #[test]
    fn requests_concatenate(one in traces(), two in traces()) {
        let joined = [one.encode_to_vec(), two.encode_to_vec()].concat();
        let mut both = one;
        both.resource_spans.extend(two.resource_spans);
        prop_assert_eq!(decode(&joined), both);
    }

    /// Cut requests hold together what one held, in order, and none is longer than asked for
    /// unless one span alone is, or what they repeat.
    #[test]
    fn pieces_are_the_whole(request in traces(), max in 1..600_usize) {
        let spans = |request: &ExportTraceServiceRequest| -> Vec<_> {
            let of = |resource: &ResourceSpans| {
                let scopes = resource.scope_spans.iter();
                let with = |scope: &ScopeSpans| {
                    let (outer, inner) = (resource.resource.clone(), scope.scope.clone());
                    scope.spans.iter().map(move |span| (outer.clone(), inner.clone(), span.clone())).collect::<Vec<_>>()
                };
                scopes.flat_map(with).collect::<Vec<_>>()
            };
            request.resource_spans.iter().flat_map(of).collect()
        };
        let mut whole = Vec::new();
        for (piece, items) in split(Signal::Traces, &request.encode_to_vec().into(), max).unwrap() {
            let decoded = decode(&piece);
            let held = spans(&decoded);
            let lengths: Vec<usize> = held.iter().map(|(.., span)| span.encoded_len()).collect();
            let repeated = piece.len().saturating_sub(lengths.iter().sum());
            let before_last: usize = lengths.iter().rev().skip(1).sum();
            prop_assert!(piece.len() <= max || items <= 1 || before_last < repeated);
            prop_assert_eq!(check(Signal::Traces, &piece), Ok(items));
            whole.extend(held);
        }
        prop_assert_eq!(whole, spans(&request));
    }

    /// Spans without valid ids are counted, taken off, and not listed; the others are.
    #[test]
    fn spans_need_ids(mut request in traces(), damage in vec(0..6_u8, 1..20)) {
        let mut kinds = damage.iter().cycle();
        let scopes = |request: &mut ExportTraceServiceRequest, each: &mut dyn FnMut(&mut Vec<Span>)| {
            let resources = request.resource_spans.iter_mut();
            resources.flat_map(|spans| &mut spans.scope_spans).for_each(|scope| each(&mut scope.spans));
        };
        scopes(&mut request, &mut |spans| for span in spans {
            match kinds.next().unwrap() {
                0 => span.trace_id.clear(),
                1 => span.span_id = vec![0; 8],
                2 => span.trace_id.push(1),
                _ => {}
            }
        });
        let bytes = Bytes::from(request.encode_to_vec());
        let (kept, dropped) = drop_invalid(&bytes).unwrap();
        prop_assert_eq!(inspect(Signal::Traces, &bytes).unwrap().invalid_ids, dropped);
        let mut ids = Vec::new();
        scopes(&mut request, &mut |spans| {
            spans.retain(|span| SpanId::of(&span.trace_id, &span.span_id).is_some());
            ids.extend(spans.iter().filter_map(|span| SpanId::of(&span.trace_id, &span.span_id)));
        });
        prop_assert_eq!(span_ids(&bytes).collect::<Vec<_>>(), ids);
        prop_assert_eq!(decode(&kept), request);
        prop_assert!(dropped > 0 || kept.as_ptr() == bytes.as_ptr());
    }

    /// Damaged requests are refused or are valid for a decoder too; nothing panics.
    #[test]
    fn what_passes_decodes(
        request in traces(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if !bytes.is_empty() && end.index(2) == 1 {
            bytes.truncate(end.index(bytes.len()));
        }
        trusted(&bytes);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        trusted(&bytes);
    }
}

/// What [`check()`] accepts, prost decodes; mending touches nothing but texts.
fn trusted(bytes: &[u8]) {
    let checked = check(Signal::Traces, bytes);
    if let Ok(mended) = mend_text(Signal::Traces, bytes) {
        assert_eq!(mended.len(), bytes.len());
        assert!(checked.is_err() || mended == bytes, "nothing else is touched");
        assert!(is_text(check(Signal::Traces, &mended)));
    }
    if checked.is_ok() {
        decode(bytes);
    }
}

/// Whether a check found nothing to mend.
fn is_text(checked: Result<usize, WireError>) -> bool {
    !matches!(checked, Err(WireError::Text { .. }))
}

#[test]
fn bytes_that_are_no_text_are_mended_where_they_stand() {
    let request = |name: &str, text: &str| {
        let attributes = vec![key_value("user-agent".into(), AnyValue { value: None })];
        let mut span = Span { name: name.to_owned(), attributes, ..Span::default() };
        span.trace_id = vec![0xff; 16];
        span.attributes[0].value = Some(AnyValue { value: Some(Any::StringValue(text.into())) });
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    };
    let bad = request("süß", "a@@b@").into_iter();
    let bad: Vec<u8> = bad.map(|byte| if byte == b'@' { 0xfe } else { byte }).collect();
    assert!(!is_text(check(Signal::Traces, &bad)));
    assert_eq!(mend_text(Signal::Traces, &bad).unwrap(), request("süß", "a??b?"));
    assert_eq!(mend_text(Signal::Traces, &bad[..9]), Err(WireError::Truncated));
}

#[test]
fn malformed_requests_are_refused_with_the_reason() {
    let nested = (0..70).fold(Vec::new(), |inner, _| {
        let mut array = Vec::new();
        fields::put_bytes(&mut array, 1, &inner);
        let mut value = Vec::new();
        fields::put_bytes(&mut value, 5, &array);
        value
    });
    let mut pair = Vec::new();
    fields::put_bytes(&mut pair, 2, &nested);
    let in_resource = |attribute: &[u8]| {
        let mut bytes = attribute.to_vec();
        for number in [1, 1, 1] {
            let mut outer = Vec::new();
            fields::put_bytes(&mut outer, number, &bytes);
            bytes = outer;
        }
        bytes
    };
    for (bytes, expected) in [
        (vec![0x0a, 0x05, 0x00], WireError::Truncated),
        (vec![0x0a], WireError::Truncated),
        (vec![0x80; 11], WireError::Number),
        ([&[0xff; 9][..], &[0x02]].concat(), WireError::Number),
        (vec![0x00, 0x00], WireError::Tag),
        (vec![0x0f], WireError::Tag),
        (vec![0x0b, 0x0c], WireError::Group { number: 1 }),
        (vec![0x08, 0x01], WireError::Type { message: "ExportTraceServiceRequest", number: 1 }),
        (in_resource(&[0x0a, 0x01, 0xff]), WireError::Text { message: "KeyValue", number: 1 }),
        (in_resource(&pair), WireError::Depth),
    ] {
        assert_eq!(check(Signal::Traces, &bytes), Err(expected), "{bytes:?}");
    }
}

/// A request whose resource has `head` bytes and which has so many spans.
fn with_head(head: usize, spans: usize) -> Bytes {
    let mut resource = Resource::default();
    let any = AnyValue { value: Some(Any::StringValue("x".repeat(head))) };
    resource.attributes.push(KeyValue { key: "a".into(), value: Some(any), ..KeyValue::default() });
    let span = |id: usize| Span {
        trace_id: vec![1; 16],
        span_id: id.to_be_bytes().to_vec(),
        ..Span::default()
    };
    let scope = ScopeSpans { spans: (1..=spans).map(span).collect(), ..ScopeSpans::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec().into()
}

#[test]
fn pieces_are_small_and_lose_nothing() {
    for (head, max, fits) in [(10, 200, true), (400, 600, true), (10_000, 600, false)] {
        let request = with_head(head, 1000);
        let pieces = split(Signal::Traces, &request, max).unwrap();
        let ids: Vec<SpanId> =
            pieces.iter().flat_map(|(piece, _)| span_ids(piece).collect::<Vec<_>>()).collect();
        assert!(ids.iter().copied().eq(span_ids(&request)), "{head}");
        for (piece, items) in &pieces {
            assert_eq!(check(Signal::Traces, piece), Ok(*items));
            assert!(piece.len() <= max || !fits, "{} of {max}", piece.len());
        }
        let all: usize = pieces.iter().map(|(piece, _)| piece.len()).sum();
        assert!(
            pieces.len() > 1 && (fits || all.div_ceil(5) <= request.len()),
            "{head}: {all} bytes"
        );
    }
}

/// The check passes over most keys by their length and two letters.
#[test]
fn every_key_of_a_url_is_looked_at() {
    let keys = [
        "http.fragment.string",
        "http.path",
        "http.query.string",
        "http.target",
        "http.url",
        "peer.address",
        "url.fragment",
        "url.full",
        "url.original",
        "url.path",
        "url.query",
    ];
    for key in keys {
        assert!(urls::holds_url(key.as_bytes()), "{key}");
        // Far from where a scheme would end, which tells as well.
        let text = format!("{}?a", "/p".repeat(20));
        let mut body = Vec::new();
        fields::put_bytes(&mut body, 1, key.as_bytes());
        let mut any = Vec::new();
        fields::put_bytes(&mut any, 1, text.as_bytes());
        fields::put_bytes(&mut body, 2, &any);
        let mut field = Vec::new();
        fields::put_bytes(&mut field, 9, &body);
        let one = fields::TextAttribute::first(&field, field[0]).unwrap();
        assert!(urls::is_telling_text(&one), "{key}");
    }
}
