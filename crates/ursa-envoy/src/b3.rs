//! Envoy's Zipkin tracer, for B3 where the module is not to be had.
//!
//! What comes in `b3` goes out of Envoy 1.40's tracer in `b3`; that of 1.36 to 1.39 leaves the caller's there, which the
//! service behind would take for its parent, and writes three headers. So `b3` is taken off once the tracer has read it,
//! and where it is wanted and the tracer did not write it, it is made of the three.

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as Mutation, header_mutation::Action,
};
use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::config::trace::v3::ZipkinConfig;
use envoy_types::pb::envoy::config::trace::v3::zipkin_config::{
    CollectorEndpointVersion, TraceContextOption,
};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{
    HeaderMutation, Mutations,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::google::protobuf::BoolValue;

use crate::bootstrap::OTLP_CLUSTER;
use crate::{module, parts};

/// The header that has all of it.
pub(crate) const SINGLE: &str = "b3";
/// Where the agent takes spans in JSON.
const SPANS: &str = "/api/v2/spans";
/// The single header, made of the three.
const JOINED: &str = "%REQ(x-b3-traceid)%-%REQ(x-b3-spanid)%-%REQ(x-b3-sampled)%";

/// The tracer.
pub(crate) fn tracer(w3c: bool) -> ZipkinConfig {
    let option =
        if w3c { TraceContextOption::UseB3WithW3cPropagation } else { TraceContextOption::UseB3 };
    ZipkinConfig {
        collector_cluster: OTLP_CLUSTER.to_owned(),
        collector_endpoint: SPANS.to_owned(),
        // In protobuf the bytes of a parent's id are reversed (Envoy 1.36 to 1.40).
        collector_endpoint_version: CollectorEndpointVersion::HttpJson as i32,
        trace_id_128bit: true,
        // A span for each proxy, as OpenTelemetry has it.
        shared_span_context: Some(BoolValue { value: false }),
        trace_context_option: option as i32,
        ..ZipkinConfig::default()
    }
}

/// Writes [`SINGLE`] on each attempt unless the tracer did. Envoy: the router's `upstream_http_filters`.
pub(crate) fn write_single() -> Vec<HttpFilter> {
    let header =
        HeaderValue { key: SINGLE.to_owned(), value: JOINED.to_owned(), ..HeaderValue::default() };
    let append = HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::AddIfAbsent as i32,
        ..HeaderValueOption::default()
    };
    let mutation = Mutation { action: Some(Action::Append(append)) };
    let config = HeaderMutation {
        mutations: Some(Mutations { request_mutations: vec![mutation], ..Mutations::default() }),
        ..HeaderMutation::default()
    };
    module::before_codec("envoy.filters.http.header_mutation", parts::any(&config))
}
