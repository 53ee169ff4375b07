//! Listeners: HTTP with routes by RDS, and TCP.

use envoy_types::pb::envoy::config::core::v3::{HttpProtocolOptions, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::{self as envoy, Filter, FilterChain, filter};
use envoy_types::pb::envoy::config::trace::v3::{OpenTelemetryConfig, tracing};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager as hcm, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use crate::bootstrap::OTLP_CLUSTER;
use crate::proxy::{
    Direction, HttpListener, Listener, ListenerKind, MeshTls, TcpRoute, Tracer, Tracing, stat_name,
};
use crate::tls::{self, Clients};
use crate::{access_log, b3, baggage, module, parts, permission};

/// How many spans one worker keeps while the agent does not take them; what comes then is dropped.
/// Well over [`crate::bootstrap::MIN_FLUSH_SPANS`], so that a flush is never what fills it.
/// Envoy: `OpenTelemetryConfig.max_cache_size`, default 1024.
const MAX_WAITING_SPANS: u32 = 8_192;

/// A listener as Envoy reads it.
pub(crate) fn listener(listener: &Listener, mesh: Option<&MeshTls>) -> envoy::Listener {
    envoy::Listener {
        name: listener.name.clone(),
        address: Some(parts::socket_address(&listener.address, listener.port)),
        stat_prefix: stat_name(&listener.name),
        traffic_direction: match listener.direction {
            Direction::Inbound => TrafficDirection::Inbound as i32,
            Direction::Outbound => TrafficDirection::Outbound as i32,
        },
        listener_filters: tls::inspector(listener.tls).into_iter().collect(),
        filter_chains: tls::chains(|clients| chain(listener, clients), listener.tls, mesh),
        ..envoy::Listener::default()
    }
}

/// What is done with connections of such clients.
fn chain(listener: &Listener, clients: Clients) -> FilterChain {
    let permissions = listener.permissions.as_ref().filter(|_| clients != Clients::Unknown);
    let stat_prefix = stat_name(&listener.name);
    let access_log = listener.access_logs.iter().map(access_log::access_log).collect();
    let mut filters = Vec::new();
    match &listener.kind {
        ListenerKind::Http(http) => {
            let config = HttpConnectionManager {
                access_log,
                ..connection_manager(http, listener, permissions.is_some())
            };
            let name = "envoy.filters.network.http_connection_manager";
            filters.push(network_filter(name, parts::any(&config)));
        }
        ListenerKind::Tcp(tcp) => {
            filters.extend(permissions.map(|it| permission::network_filter(it, &stat_prefix)));
            let config = TcpProxy { access_log, ..tcp_proxy(tcp, &stat_prefix) };
            filters.push(network_filter("envoy.filters.network.tcp_proxy", parts::any(&config)));
        }
    }
    FilterChain { filters, ..FilterChain::default() }
}

fn network_filter(name: &str, config: Any) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(config)) }
}

fn tcp_proxy(tcp: &TcpRoute, stat_prefix: &str) -> TcpProxy {
    let specifier = match tcp.clusters.as_slice() {
        [only] => ClusterSpecifier::Cluster(only.name.clone()),
        several => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: several
                .iter()
                .filter(|cluster| cluster.weight > 0)
                .map(|cluster| ClusterWeight {
                    name: cluster.name.clone(),
                    weight: cluster.weight,
                    ..ClusterWeight::default()
                })
                .collect(),
        }),
    };
    TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        idle_timeout: tcp.idle_timeout.map(parts::duration),
        max_connect_attempts: tcp.max_connect_attempts.map(parts::uint32),
        cluster_specifier: Some(specifier),
        ..TcpProxy::default()
    }
}

fn connection_manager(
    http: &HttpListener,
    listener: &Listener,
    asks_permission: bool,
) -> HttpConnectionManager {
    let timeouts = http.timeouts;
    let router = Router { upstream_http_filters: upstream_filters(http), ..Router::default() };
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(parts::any(&router))),
        ..HttpFilter::default()
    };
    HttpConnectionManager {
        early_header_mutation_extensions: http.propagation.iter().map(module::extract).collect(),
        stream_idle_timeout: Some(parts::duration(timeouts.stream_idle)),
        request_headers_timeout: timeouts.request_headers.map(parts::duration),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(parts::duration(timeouts.connection_idle)),
            max_connection_duration: timeouts.max_connection_duration.map(parts::duration),
            max_stream_duration: timeouts.max_stream_duration.map(parts::duration),
            ..HttpProtocolOptions::default()
        }),
        stat_prefix: stat_name(&http.stat_prefix),
        route_specifier: Some(hcm::RouteSpecifier::Rds(Rds {
            config_source: Some(parts::ads()),
            route_config_name: http.routes.name.clone(),
        })),
        http_filters: baggage::filter(&listener.access_logs)
            .into_iter()
            .chain(asks_permission.then(permission::http_filter))
            .chain([router])
            .collect(),
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
