//! Spans that Envoy makes although it decided against them: by its OpenTelemetry tracer before 1.39, and by its Zipkin
//! tracer.
//!
//! Such a tracer records every request whose caller is traced. What Envoy itself decided, by its
//! routes' shares, it writes into the request id all the same, and the id is a tag of each span: so
//! the agent takes those spans out that a newer Envoy would not have made.

use ursa_model::pipeline::Processor;
use ursa_model::pipeline::processor::{AttributeMatch, Condition, Filter};

/// The label `rule` under which they are counted.
const RULE: &str = "sampling";
/// A request id that says that the request is not traced: the digit at 14 of a UUID is none of `9`
/// (drawn), `a` (forced), `b` (the client asked). Or no id at all, by which Envoy cannot draw.
/// Envoy: `UUIDRequestIDExtension`.
const DECIDED_AGAINST: &str = "(?s-u)^(?:.{14}[^9ab].{21}|.{0,7}|.{0,7}[^0-9a-fA-F].*)$";

/// Takes out spans of requests that Envoy itself decided not to trace.
pub(crate) fn own_decision() -> Processor {
    let attributes = [
        ("component", AttributeMatch::Exact("proxy".to_owned())),
        ("guid:x-request-id", AttributeMatch::Regex(DECIDED_AGAINST.to_owned())),
    ];
    let attributes = attributes.map(|(key, value)| (key.to_owned(), value)).into();
    Processor::Filter(Filter {
        name: RULE.to_owned(),
        drop: vec![Condition { attributes, ..Condition::default() }],
        ..Filter::default()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
    use prost::Message as _;
    use ursa_otlp::Signal;
    use ursa_otlp::process::Rules;

    use super::*;

    /// Whether a span with these attributes stays.
    fn stays(attributes: &[(&str, &str)]) -> bool {
        let attribute = |(key, value): &(&str, &str)| KeyValue {
            key: (*key).to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue((*value).to_owned())),
            }),
            ..KeyValue::default()
        };
        let attributes = attributes.iter().map(attribute).collect();
        let span = Span { attributes, ..Span::default() };
        let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let request = Bytes::from(TracesData { resource_spans: vec![resource] }.encode_to_vec());
        let rules = Rules::compile(&BTreeMap::new(), &BTreeMap::new(), &[own_decision()]).unwrap();
        rules.apply(Signal::Traces, &request).unwrap().items == 1
    }

    #[test]
    fn the_request_id_says_what_envoy_decided() {
        let cases = [
            ("000004d2-0000-4000-8000-000000000000", false, "none of its shares took it"),
            ("000004d2-0000-9000-8000-000000000000", true, "drawn"),
            ("000004d2-0000-a000-8000-000000000000", true, "forced"),
            ("000004d2-0000-b000-8000-000000000000", true, "the client asked"),
            ("hello", false, "no id"),
            ("hello-world-00-9", false, "no id"),
            ("", false, "no id"),
            ("000004d2-0000-4000", true, "an id by which Envoy draws, and has no room to say it"),
        ];
        for (id, expected, why) in cases {
            let of_envoy = [("component", "proxy"), ("guid:x-request-id", id)];
            assert_eq!(stays(&of_envoy), expected, "{id}: {why}");
            assert!(stays(&[("guid:x-request-id", id)]), "{id}: no span of Envoy's");
        }
        assert!(stays(&[("component", "proxy")]), "nothing is said");
    }
}
