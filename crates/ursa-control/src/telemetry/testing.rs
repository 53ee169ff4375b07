//! Spans for tests.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// A span under construction.
#[derive(Debug, Clone)]
pub(super) struct Sample(pub(super) Span);

impl Sample {
    /// A server span from 1 s to 2 s after 1970; a parent of 0 is none.
    pub(super) fn span(trace: u8, id: u8, parent: u8) -> Self {
        Self(Span {
            trace_id: vec![trace; 16],
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
            name: format!("span {id}"),
            kind: 2,
            start_time_unix_nano: 1_000_000_000,
            end_time_unix_nano: 2_000_000_000,
            ..Span::default()
        })
    }

    pub(super) fn at(mut self, start: u64, end: u64) -> Self {
        (self.0.start_time_unix_nano, self.0.end_time_unix_nano) = (start, end);
        self
    }

    pub(super) fn tag(mut self, key: &str, value: &str) -> Self {
        self.0.attributes.push(attribute(key, any_value::Value::StringValue(value.to_owned())));
        self
    }

    pub(super) fn resource(service: &str) -> ResourceSpans {
        let name = any_value::Value::StringValue(service.to_owned());
        let resource =
            Resource { attributes: vec![attribute("service.name", name)], ..Resource::default() };
        ResourceSpans { resource: Some(resource), ..ResourceSpans::default() }
    }
}

pub(super) fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// An encoded request of one service's spans.
pub(super) fn request(service: &str, spans: impl IntoIterator<Item = Sample>) -> Vec<u8> {
    let spans = spans.into_iter().map(|sample| sample.0).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Sample::resource(service) }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}
