//! Listeners: HTTP with routes by RDS, and TCP.

use envoy_types::pb::envoy::config::core::v3::{HttpProtocolOptions, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::{self as envoy, Filter, FilterChain, filter};
use envoy_types::pb::envoy::config::trace::v3::{OpenTelemetryConfig, tracing};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager as hcm, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use crate::bootstrap::OTLP_CLUSTER;
use crate::proxy::{Direction, HttpListener, Listener, ListenerKind, Tracer, Tracing, stat_name};
use crate::{access_log, b3, baggage, module, parts};

/// How many spans one worker keeps while the agent does not take them; what comes then is dropped.
/// Well over [`crate::bootstrap::MIN_FLUSH_SPANS`], so that a flush is never what fills it.
/// Envoy: `OpenTelemetryConfig.max_cache_size`, default 1024.
const MAX_WAITING_SPANS: u32 = 8_192;

/// How long a request, a WebSocket or a stream may be silent in both directions: Kuma's defaults. Envoy's own 5 minutes would cut those that wait
/// for events. Envoy: `stream_idle_timeout`.
const INBOUND_STREAM_IDLE_SECONDS: i64 = 3_600;
/// The same of requests that leave.
const OUTBOUND_STREAM_IDLE_SECONDS: i64 = 1_800;
/// How long a connection may be without requests. Longer where connections come from other proxies, which keep them for an hour: the side that
/// sends requests closes first, so none is sent into a closing connection. Envoy: `idle_timeout`, default 1 h.
const INBOUND_IDLE_SECONDS: i64 = 7_200;
/// The same of connections of the workload.
const OUTBOUND_IDLE_SECONDS: i64 = 3_600;

/// A listener as Envoy reads it.
pub(crate) fn listener(listener: &Listener) -> envoy::Listener {
    let stat_prefix = stat_name(&listener.name);
    let access_logs = listener.access_logs.iter().map(access_log::access_log).collect();
    let filter = match &listener.kind {
        ListenerKind::Http(http) => network_filter(
            "envoy.filters.network.http_connection_manager",
            parts::any(&HttpConnectionManager {
                access_log: access_logs,
                ..connection_manager(http, listener)
            }),
        ),
        ListenerKind::Tcp { cluster } => network_filter(
            "envoy.filters.network.tcp_proxy",
            parts::any(&TcpProxy {
                stat_prefix: stat_prefix.clone(),
                access_log: access_logs,
                cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.clone())),
                ..TcpProxy::default()
            }),
        ),
    };
    envoy::Listener {
        name: listener.name.clone(),
        address: Some(parts::socket_address(&listener.address, listener.port)),
        stat_prefix,
        traffic_direction: match listener.direction {
            Direction::Inbound => TrafficDirection::Inbound as i32,
            Direction::Outbound => TrafficDirection::Outbound as i32,
        },
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        ..envoy::Listener::default()
    }
}

fn network_filter(name: &str, config: Any) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

fn connection_manager(http: &HttpListener, listener: &Listener) -> HttpConnectionManager {
    let (stream_idle, idle) = match listener.direction {
        Direction::Inbound => (INBOUND_STREAM_IDLE_SECONDS, INBOUND_IDLE_SECONDS),
        Direction::Outbound => (OUTBOUND_STREAM_IDLE_SECONDS, OUTBOUND_IDLE_SECONDS),
    };
    let router = Router { upstream_http_filters: upstream_filters(http), ..Router::default() };
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(parts::any(&router))),
        ..HttpFilter::default()
    };
    HttpConnectionManager {
        early_header_mutation_extensions: http.propagation.iter().map(module::extract).collect(),
        stream_idle_timeout: Some(parts::seconds(stream_idle)),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(parts::seconds(idle)),
            ..HttpProtocolOptions::default()
        }),
        stat_prefix: stat_name(&http.stat_prefix),
        route_specifier: Some(hcm::RouteSpecifier::Rds(Rds {
            config_source: Some(parts::ads()),
            route_config_name: http.routes.name.clone(),
        })),
        http_filters: baggage::filter(&listener.access_logs).into_iter().chain([router]).collect(),
        tracing: http.tracing.as_ref().map(tracer),
        // What the application says of itself is not replaced by "envoy".
        server_header_transformation: hcm::ServerHeaderTransformation::PassThrough as i32,
        upgrade_configs: vec![hcm::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..hcm::UpgradeConfig::default()
        }],
        ..HttpConnectionManager::default()
    }
}

/// What is done with each attempt after the tracer has written its context.
fn upstream_filters(http: &HttpListener) -> Vec<HttpFilter> {
    match (&http.propagation, &http.tracing) {
        (Some(propagation), _) => module::inject(propagation),
        (None, Some(Tracing { tracer: Tracer::Zipkin { single: true, .. }, .. })) => {
            b3::write_single()
        }
        _ => Vec::new(),
    }
}

fn tracer(tracing: &Tracing) -> hcm::Tracing {
    let (name, config) = match tracing.tracer {
        Tracer::OpenTelemetry => {
            let config = OpenTelemetryConfig {
                grpc_service: Some(parts::grpc_service(OTLP_CLUSTER)),
                service_name: tracing.service_name.clone(),
                max_cache_size: Some(parts::uint32(MAX_WAITING_SPANS)),
                ..OpenTelemetryConfig::default()
            };
            ("envoy.tracers.opentelemetry", parts::any(&config))
        }
        Tracer::Zipkin { w3c, .. } => ("envoy.tracers.zipkin", parts::any(&b3::tracer(w3c))),
    };
    hcm::Tracing {
        provider: Some(tracing::Http {
            name: name.to_owned(),
            config_type: Some(tracing::http::ConfigType::TypedConfig(config)),
        }),
        // Routes say what is sampled; what matches none of them (`OPTIONS *`) is not traced.
        overall_sampling: Some(Percent { value: 0.0 }),
        // Sidecar and application are one hop; its two spans are the inbound's and the outbound's.
        spawn_upstream_span: Some(BoolValue { value: false }),
        ..hcm::Tracing::default()
    }
}
