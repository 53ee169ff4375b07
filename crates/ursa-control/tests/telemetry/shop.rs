//! Traces of a small shop: gateway → frontend → catalog, cart → payments, each hop a client and a server span.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// One trace of ten spans.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    /// Its trace id is this number.
    pub(crate) number: u64,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    /// The whole, as the gateway sees it.
    pub(crate) takes: Duration,
    /// Payments answers 503.
    pub(crate) fails: bool,
    /// The name of the outermost service.
    pub(crate) gateway: &'static str,
}

impl Purchase {
    /// The trace as one request.
    pub(crate) fn request(&self) -> Vec<u8> {
        let hops = [
            (self.gateway, "GET /checkout", SERVER, None, 0.0, 1.0),
            (self.gateway, "frontend", CLIENT, Some(0), 0.02, 0.96),
            ("frontend", "GET /checkout", SERVER, Some(1), 0.04, 0.92),
            ("frontend", "catalog", CLIENT, Some(2), 0.07, 0.2),
            ("catalog", "GET /products/17", SERVER, Some(3), 0.09, 0.15),
            ("frontend", "cart", CLIENT, Some(2), 0.3, 0.64),
            ("cart", "POST /orders", SERVER, Some(5), 0.33, 0.6),
            ("cart", "payments", CLIENT, Some(6), 0.41, 0.48),
            ("payments", "POST /charge", SERVER, Some(7), 0.43, 0.44),
            ("payments", "authorize", 1, Some(8), 0.45, 0.4),
        ];
        let resource_spans = hops.iter().enumerate().map(
            |(index, &(service, name, kind, parent, begins, lasts))| {
                let at = |share: f64| {
                    self.start + u64::try_from(self.takes.mul_f64(share).as_nanos()).unwrap()
                };
                let failed = self.fails && !matches!(service, "catalog") && name != "catalog";
                let mut attributes = vec![
                    text("http.method", name.split(' ').next().unwrap_or_default()),
                    text("http.url", &format!("http://{service}/{name}")),
                    text("http.status_code", if failed { "503" } else { "200" }),
                    text("http.protocol", "HTTP/1.1"),
                    text("user_agent", "ursa-demo/0.1"),
                    text("request_size", "412"),
                    text("response_size", "2048"),
                    text("upstream_cluster", service),
                    text("peer.address", "10.1.0.7"),
                    text("component", "proxy"),
                    text("team", "core"),
                    text("guid:x-request-id", &format!("{:032x}", self.number)),
                ];
                attributes.extend(failed.then(|| text("response_flags", "UF,URX")));
                let span = Span {
                    trace_id: u128::from(self.number).to_be_bytes().to_vec(),
                    span_id: span_id(self.number, index),
                    parent_span_id: parent
                        .map(|parent| span_id(self.number, parent))
                        .unwrap_or_default(),
                    name: name.to_owned(),
                    kind,
                    start_time_unix_nano: at(begins),
                    end_time_unix_nano: at(begins + lasts),
                    attributes,
                    ..Span::default()
                };
                resource_spans(service, span)
            },
        );
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
    }
}

fn span_id(number: u64, index: usize) -> Vec<u8> {
    ((number << 8) + index as u64 + 1).to_be_bytes().to_vec()
}

fn resource_spans(service: &str, span: Span) -> ResourceSpans {
    let attributes = vec![
        text("service.name", service),
        text("service.instance.id", &format!("{service}-1")),
        text("kuma.mesh", "default"),
        text("deployment.environment.name", "demo"),
    ];
    let resource = Resource { attributes, ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
