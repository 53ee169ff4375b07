//! What is written is what the specification shows, and reads back as what it was.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

#[test]
fn json_reads_back() {
    let traces = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a \"b\"\n"}}],"droppedAttributesCount":1},"scopeSpans":[{"scope":{"name":"lib","version":"1"},"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"eee19b7ec3c1b173","flags":257,"name":"GET","kind":2,"startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","attributes":[{"key":"n","value":{"intValue":"-5"}},{"key":"b","value":{"boolValue":true}},{"key":"d","value":{"doubleValue":1.5}},{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"}]}}},{"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"bytesValue":"AQI="}}]}}}],"events":[{"timeUnixNano":"1","name":"e"}],"links":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":1}],"status":{"message":"m","code":2}}],"schemaUrl":"s"}]}]}"#;
    let metrics = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"s","unit":"1","sum":{"dataPoints":[{"attributes":[{"key":"k","value":{"stringValue":"v"}}],"timeUnixNano":"3","asInt":"-7"}],"aggregationTemporality":2,"isMonotonic":true}},{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"3","asDouble":0.25}]}},{"name":"h","histogram":{"dataPoints":[{"timeUnixNano":"3","count":"2","sum":3.0,"bucketCounts":["1","1"],"explicitBounds":[1.0],"min":1.0,"max":2.0}],"aggregationTemporality":1}},{"name":"x","exponentialHistogram":{"dataPoints":[{"timeUnixNano":"3","count":"3","scale":-2,"zeroCount":"1","positive":{"offset":-1,"bucketCounts":["2","300"]}}],"aggregationTemporality":2}},{"name":"q","summary":{"dataPoints":[{"timeUnixNano":"3","count":"1","sum":2.0,"quantileValues":[{"quantile":0.5,"value":2.0}]}]}}]}]}]}"#;
    let logs = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","observedTimeUnixNano":"2","severityNumber":9,"severityText":"Info","body":{"stringValue":"hello"},"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","eventName":"e"}]}]}]}"#;
    for (signal, text) in
        [(Signal::Traces, traces), (Signal::Metrics, metrics), (Signal::Logs, logs)]
    {
        let protobuf = to_protobuf(signal, text.as_bytes()).unwrap();
        assert_eq!(from_protobuf(signal, &protobuf).unwrap(), text, "{signal}");
    }
}

#[test]
fn what_json_has_no_number_for_has_a_word() {
    // ResourceMetrics, ScopeMetrics, Metric, Gauge, NumberDataPoint with as_double = NaN.
    let mut bytes = vec![0x21];
    bytes.extend(f64::NAN.to_le_bytes());
    for number in [1, 5, 2, 2, 1] {
        let mut outer = Vec::new();
        crate::wire::fields::put_bytes(&mut outer, number, &bytes);
        bytes = outer;
    }
    let text = from_protobuf(Signal::Metrics, &bytes).unwrap();
    assert!(text.contains(r#"{"asDouble":"NaN"}"#), "{text}");
}

#[test]
fn members_of_a_choice_replace_one_another() {
    // AnyValue: int_value 1, string_value "a", int_value 2; as a log record's body.
    let mut bytes = vec![0x18, 1, 0x0a, 1, b'a', 0x18, 2];
    for number in [5, 2, 2, 1] {
        let mut outer = Vec::new();
        crate::wire::fields::put_bytes(&mut outer, number, &bytes);
        bytes = outer;
    }
    let text = from_protobuf(Signal::Logs, &bytes).unwrap();
    assert!(text.contains(r#""body":{"intValue":"2"}"#), "{text}");
}

/// What `opentelemetry-proto` makes of the same text.
fn peer(signal: Signal, text: &[u8]) -> Vec<u8> {
    fn through<M: Message + DeserializeOwned>(text: &[u8]) -> Vec<u8> {
        serde_json::from_slice::<M>(text).unwrap().encode_to_vec()
    }
    match signal {
        Signal::Traces => through::<ExportTraceServiceRequest>(text),
        Signal::Metrics => through::<ExportMetricsServiceRequest>(text),
        Signal::Logs => through::<ExportLogsServiceRequest>(text),
    }
}

/// Some of each kind of data point.
fn metrics() -> Value {
    let attributes = json!([{"key": "k", "value": {"stringValue": "v"}}]);
    let exemplar = json!({"timeUnixNano": "3", "asInt": "-7", "spanId": "eee19b7ec3c1b174",
        "filteredAttributes": attributes});
    let number = json!({"attributes": attributes, "timeUnixNano": "3", "asDouble": 1.5,
        "exemplars": [exemplar]});
    let histogram = json!({"attributes": attributes, "startTimeUnixNano": "1",
        "timeUnixNano": "3", "count": "3", "sum": 0.0, "bucketCounts": ["1", "2"],
        "explicitBounds": [0.5], "min": -1.0});
    let exponential = json!({"timeUnixNano": "3", "count": "2", "scale": -2, "zeroCount": "1",
        "positive": {"offset": -3, "bucketCounts": ["300", "1"]}, "flags": 1, "zeroThreshold": 0.1});
    let summary = json!({"timeUnixNano": "3", "count": "2", "sum": 2.0,
        "quantileValues": [{"quantile": 0.5, "value": 1.0}]});
    json!([
        {"name": "g", "unit": "1", "gauge": {"dataPoints": [number]}},
        {"name": "s", "sum": {"dataPoints": [number], "aggregationTemporality": 2, "isMonotonic": true}},
        {"name": "h", "histogram": {"dataPoints": [histogram], "aggregationTemporality": 1}},
        {"name": "e", "exponentialHistogram": {"dataPoints": [exponential], "aggregationTemporality": 1}},
        {"name": "q", "description": "d", "summary": {"dataPoints": [summary]}},
    ])
}

#[test]
fn another_decoder_reads_the_same() {
    let request = |metrics| json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]});
    let text = request(metrics()).to_string();
    let ours = to_protobuf(Signal::Metrics, text.as_bytes()).unwrap();
    let decode = |bytes: &[u8]| ExportMetricsServiceRequest::decode(bytes).unwrap();
    assert_eq!(decode(&ours), decode(&peer(Signal::Metrics, text.as_bytes())));
    let text = r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"logRecords":[{"timeUnixNano":1,"body":{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"-5"},{"bytesValue":"_w=="},{}]}}}]}},"traceId":"5B8EFFF798038103D269B633813FC60C","unknown":[{"a":1}]}]}]}]}"#;
    let ours = to_protobuf(Signal::Logs, text.as_bytes()).unwrap();
    let text = text.replace("_w==", "/w==");
    let decode = |bytes: &[u8]| ExportLogsServiceRequest::decode(bytes).unwrap();
    assert_eq!(decode(&ours), decode(&peer(Signal::Logs, text.as_bytes())));
}

#[test]
fn what_is_no_request_is_refused_in_words() {
    let spans =
        |span: &str| format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let deep = r#"{"arrayValue":{"values":["#;
    for (text, expected) in [
        ("[]".to_owned(), "expected an object, ExportTraceServiceRequest"),
        (r#"{"resourceSpans":{}}"#.to_owned(), "expected a list as \"resourceSpans\""),
        (spans("null"), "null, expected an object as \"spans\""),
        (spans(r#"{"name":7}"#), "expected text as \"name\""),
        (spans(r#"{"name":["a"]}"#), "sequence, expected text as \"name\""),
        (spans(r#"{"traceId":"5b8"}"#), "such a text, expected hex digits as \"traceId\""),
        (spans(r#"{"kind":"SPAN_KIND_SERVER"}"#), "expected an integer in range as \"kind\""),
        (spans(r#"{"kind":2147483648}"#), "such a number, expected an integer in range"),
        (spans(r#"{"startTimeUnixNano":"-1"}"#), "expected an integer in range"),
        (spans(r#"{"name":"a"}]"#), "line 1"),
        (spans(r#"{"name":"\ud800"}"#), "hex escape"),
        ("{} {}".to_owned(), "trailing"),
        (spans(&format!(r#"{{"attributes":[{{"value":{}"#, deep.repeat(50))), "recursion limit"),
    ] {
        let error = to_protobuf(Signal::Traces, text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let nothing = r#"{"resourceSpans":[{"resource":null,"scopeSpans":null}],"x":null}"#;
    assert_eq!(to_protobuf(Signal::Traces, nothing.as_bytes()).unwrap(), [0x0a, 0]);
}

#[test]
fn a_request_takes_no_more_than_was_told() {
    let list = |element: &str| vec![element; 20_000].join(",");
    let points = |point: &str| {
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{point}]}}}}]}}]}}]}}"#
        )
    };
    let ordinary: Vec<Value> =
        vec![metrics(); 50].into_iter().flat_map(|one| one.as_array().unwrap().clone()).collect();
    let ordinary = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": ordinary}]}]});
    for (text, most) in [
        (ordinary.to_string(), 2),
        (points(&format!(r#"{{"bucketCounts":[{}]}}"#, list("0"))), 6),
        (points(&format!(r#"{{"explicitBounds":[{}]}}"#, list("0"))), 6),
        (points(&list("{}")), 5),
        (points(&list(r#"{"min":0}"#)), 3),
        (points(&list(r#"{"count":0,"sum":0,"min":0,"max":0}"#)), 3),
        (r#"{"resourceMetrics":["#.to_owned() + &list("{}") + "]}", 5),
    ] {
        let start = text.get(..60).unwrap_or(&text);
        let cost = cost(text.as_bytes());
        let protobuf = to_protobuf(Signal::Metrics, text.as_bytes()).unwrap();
        assert!(protobuf.len() <= cost, "{start}: {} of {cost}", protobuf.len());
        assert!(cost <= most * text.len(), "{start}: {cost} for {}", text.len());
    }
}
