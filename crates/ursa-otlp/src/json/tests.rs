//! What is written is what the specification shows, and reads back as what it was.

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
