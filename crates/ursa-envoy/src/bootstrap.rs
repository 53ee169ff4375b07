//! What Envoy is started with: who it is, where its agent is, and what it counts.
//!
//! Everything else comes over ADS. Only Unix sockets are named here: Envoy dials nothing but its
//! agent and the mesh, and holds no credential. What Envoy takes on the command line only (drain
//! time, hot restart, concurrency) is its starter's to say.

use std::path::Path;

use envoy_types::pb::envoy::config::bootstrap::v3::{
    Admin, Bootstrap, LayeredRuntime, RuntimeLayer, bootstrap as parts_of, runtime_layer,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, Locality, Node, api_config_source::ApiType,
};
use envoy_types::pb::envoy::config::metrics::v3::{
    HistogramBucketSettings, StatsConfig, TagSpecifier, tag_specifier,
};
use envoy_types::pb::envoy::config::overload::v3::{
    OverloadManager, ResourceMonitor, resource_monitor,
};
use envoy_types::pb::envoy::extensions::resource_monitors::cpu_utilization::v3::CpuUtilizationConfig;
use envoy_types::pb::envoy::extensions::resource_monitors::downstream_connections::v3::DownstreamConnectionsConfig;
use envoy_types::pb::envoy::extensions::resource_monitors::fixed_heap::v3::FixedHeapConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher};
use envoy_types::pb::google::protobuf::{Any, ListValue, Struct, Value, value};
use serde_json::Value as Json;
use ursa_model::key::ProxyId;

use crate::cluster::one_locality;
use crate::parts;

/// Name of the cluster behind which the agent serves ADS.
pub const ADS_CLUSTER: &str = "ursa_agent_ads";
/// Name of the cluster behind which the agent takes OTLP.
pub const OTLP_CLUSTER: &str = "ursa_agent_otlp";

/// How many spans a worker gathers before it sends them: some 60 KiB, which go in one window of HTTP/2. Fewer are more
/// calls, and what Envoy saves by those is most of what tracing costs. More save no call worth mentioning, take more of
/// Envoy, since each span is copied twice on its way out and no longer lies in a cache by then, and hold up the requests
/// behind them. Runtime key `tracing.opentelemetry.min_flush_spans`, default 5.
pub const MIN_FLUSH_SPANS: u32 = 100;
/// How long a span waits at most for [`MIN_FLUSH_SPANS`], in milliseconds: under the 1 s within
/// which a policy change is to be seen, and few enough calls (four a second and worker) to cost
/// nothing. Runtime key `tracing.opentelemetry.flush_interval_ms`, default 5,000.
pub const FLUSH_INTERVAL_MS: u32 = 250;
/// How large a regular expression of a route may be once RE2 has compiled it; Envoy refuses routes with a larger one. Runtime key
/// `re2.max_program_size.error_level`, default 100, which is a few words long.
const MAX_REGEX_PROGRAM: u32 = 10_000;

/// Connections of all listeners together; more are refused before they take memory.
const MAX_CONNECTIONS: i64 = 50_000;
/// The admin interface can do anything to Envoy: only the agent's user may open it.
const ADMIN_SOCKET_MODE: u32 = 0o600;

/// Bounds of latency histograms, in milliseconds. Envoy's own have no 200, and an objective must
/// be a bound to be judged exactly.
const LATENCY_BUCKETS: [f64; 20] = [
    1., 2., 5., 10., 25., 50., 75., 100., 150., 200., 300., 500., 750., 1_000., 2_000., 5_000.,
    10_000., 30_000., 60_000., 300_000.,
];

/// Labels cut out of statistics names, beside Envoy's own.
const STATS_TAGS: [(&str, &str); 5] = [
    // HTTP and network RBAC become one family.
    ("listener", r"((.+?)\.)rbac\."),
    ("name", r"^grpc\.((.+)\.)"),
    ("status", r"^grpc.*streams_closed(_([0-9]+))"),
    // Cross-zone traffic.
    ("source_zone", r"^cluster\.[^.]+\.zone\.(([^.]+)\.)"),
    ("destination_zone", r"^cluster\.[^.]+\.zone\.[^.]+\.(([^.]+)\.)"),
];

/// What differs from one proxy's bootstrap to the next.
#[derive(Debug, Clone)]
pub struct BootstrapInputs<'a> {
    /// Which proxy; becomes the node id `<mesh>.<name>`.
    pub id: &'a ProxyId,
    /// The service it speaks for. Envoy: `node.cluster`.
    pub cluster: &'a str,
    /// Zone the proxy runs in. Envoy: `node.locality.zone`.
    pub zone: Option<&'a str>,
    /// Unix socket on which the agent serves ADS.
    pub ads_socket: &'a Path,
    /// Unix socket on which the agent takes OTLP over gRPC.
    pub otlp_socket: &'a Path,
    /// Unix socket on which Envoy shall serve its admin interface.
    pub admin_socket: &'a Path,
    /// Bytes that Envoy may have, if that is known: of these its heap is shown as a share.
    pub memory: Option<u64>,
    /// What else the control plane shall know of the proxy. Envoy: `node.metadata`.
    pub metadata: &'a serde_json::Map<String, Json>,
}

/// The bootstrap of one proxy.
pub fn bootstrap(inputs: &BootstrapInputs<'_>) -> Bootstrap {
    Bootstrap {
        node: Some(Node {
            id: node_id(inputs.id),
            cluster: inputs.cluster.to_owned(),
            metadata: Some(to_struct(inputs.metadata)),
            locality: inputs
                .zone
                .map(|zone| Locality { zone: zone.to_owned(), ..Locality::default() }),
            ..Node::default()
        }),
        static_resources: Some(parts_of::StaticResources {
            clusters: vec![
                agent_cluster(ADS_CLUSTER, inputs.ads_socket),
                agent_cluster(OTLP_CLUSTER, inputs.otlp_socket),
            ],
            ..parts_of::StaticResources::default()
        }),
        dynamic_resources: Some(parts_of::DynamicResources {
            lds_config: Some(parts::ads()),
            cds_config: Some(parts::ads()),
            ads_config: Some(ApiConfigSource {
                api_type: ApiType::DeltaGrpc as i32,
                transport_api_version: ApiVersion::V3 as i32,
                grpc_services: vec![parts::grpc_service(ADS_CLUSTER)],
                set_node_on_first_message_only: true,
                ..ApiConfigSource::default()
            }),
            ..parts_of::DynamicResources::default()
        }),
        admin: Some(Admin {
            address: Some(parts::pipe(inputs.admin_socket, ADMIN_SOCKET_MODE)),
            ..Admin::default()
        }),
        layered_runtime: Some(runtime()),
        stats_config: Some(stats()),
        overload_manager: Some(overload_manager(inputs.memory)),
        ..Bootstrap::default()
    }
}

/// How a proxy names itself on the ADS stream. A mesh's name has no dot, so the first one parts
/// the two.
pub fn node_id(id: &ProxyId) -> String {
    format!("{}.{}", id.mesh, id.name)
}

fn agent_cluster(name: &str, socket: &Path) -> Cluster {
    let agent = parts::lb_endpoint(parts::pipe(socket, 0));
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Static as i32,
        )),
        connect_timeout: Some(parts::seconds(1)),
        load_assignment: Some(one_locality(name, vec![agent])),
        typed_extension_protocol_options: [parts::http2()].into(),
        ..Cluster::default()
    }
}

fn runtime() -> LayeredRuntime {
    let entry = |key: &str, number: u32| (key.to_owned(), number_value(f64::from(number)));
    let fields = [
        entry("tracing.opentelemetry.min_flush_spans", MIN_FLUSH_SPANS),
        entry("tracing.opentelemetry.flush_interval_ms", FLUSH_INTERVAL_MS),
        // The tracer of proxies without the module whose callers speak B3.
        entry("tracing.zipkin.min_flush_spans", MIN_FLUSH_SPANS),
        entry("tracing.zipkin.flush_interval_ms", FLUSH_INTERVAL_MS),
        entry("re2.max_program_size.error_level", MAX_REGEX_PROGRAM),
    ];
    LayeredRuntime {
        layers: vec![RuntimeLayer {
            name: "ursa".to_owned(),
            layer_specifier: Some(runtime_layer::LayerSpecifier::StaticLayer(Struct {
                fields: fields.into(),
            })),
        }],
    }
}

fn stats() -> StatsConfig {
    let latencies = string_matcher::MatchPattern::SafeRegex(RegexMatcher {
        regex: ".*(rq_time|connect_ms)$".to_owned(),
        ..RegexMatcher::default()
    });
    StatsConfig {
        stats_tags: STATS_TAGS
            .iter()
            .map(|(name, regex)| TagSpecifier {
                tag_name: (*name).to_owned(),
                tag_value: Some(tag_specifier::TagValue::Regex((*regex).to_owned())),
            })
            .collect(),
        histogram_bucket_settings: vec![HistogramBucketSettings {
            r#match: Some(StringMatcher {
                match_pattern: Some(latencies),
                ..StringMatcher::default()
            }),
            buckets: LATENCY_BUCKETS.to_vec(),
            ..HistogramBucketSettings::default()
        }],
        ..StatsConfig::default()
    }
}

/// A bound on connections, and the pressure on the processor and on memory as gauges. Nothing acts on these: a busy machine would
/// make Envoy refuse requests that it could have served.
fn overload_manager(memory: Option<u64>) -> OverloadManager {
    let heap = memory.filter(|bytes| *bytes > 0).map(|max_heap_size_bytes| {
        let config = FixedHeapConfig { max_heap_size_bytes, ..FixedHeapConfig::default() };
        monitor("envoy.resource_monitors.fixed_heap", parts::any(&config))
    });
    let connections =
        DownstreamConnectionsConfig { max_active_downstream_connections: MAX_CONNECTIONS };
    OverloadManager {
        resource_monitors: [
            monitor(
                "envoy.resource_monitors.global_downstream_max_connections",
                parts::any(&connections),
            ),
            monitor(
                "envoy.resource_monitors.cpu_utilization",
                parts::any(&CpuUtilizationConfig::default()),
            ),
        ]
        .into_iter()
        .chain(heap)
        .collect(),
        ..OverloadManager::default()
    }
}

fn monitor(name: &str, config: Any) -> ResourceMonitor {
    ResourceMonitor {
        name: name.to_owned(),
        config_type: Some(resource_monitor::ConfigType::TypedConfig(config)),
    }
}

fn to_struct(object: &serde_json::Map<String, Json>) -> Struct {
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), to_value(value))).collect() }
}

fn to_value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => value::Kind::NullValue(0),
        Json::Bool(flag) => value::Kind::BoolValue(*flag),
        Json::Number(number) => return number_value(number.as_f64().unwrap_or(f64::MAX)),
        Json::String(text) => value::Kind::StringValue(text.clone()),
        Json::Array(items) => {
            value::Kind::ListValue(ListValue { values: items.iter().map(to_value).collect() })
        }
        Json::Object(object) => value::Kind::StructValue(to_struct(object)),
    };
    Value { kind: Some(kind) }
}

fn number_value(number: f64) -> Value {
    Value { kind: Some(value::Kind::NumberValue(number)) }
}
