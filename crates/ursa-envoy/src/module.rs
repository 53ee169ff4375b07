//! The two hooks around Envoy's tracer, by the library that the agent puts beside Envoy (`ursa-envoy-module`): what
//! requests bring becomes W3C Trace Context before the tracer looks, and what the tracer wrote becomes every format
//! that is listed, for each attempt.

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, DataSource, TypedExtensionConfig, async_data_source, data_source,
};
use envoy_types::pb::envoy::extensions::dynamic_modules::v3::DynamicModuleConfig;
use envoy_types::pb::envoy::extensions::filters::http::dynamic_modules::v3::DynamicModuleFilter;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter::ConfigType,
};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::dynamic_modules::v3::DynamicModuleEarlyHeaderMutation;
use envoy_types::pb::google::protobuf::{Any, StringValue};
use prost::DecodeError;
use ursa_model::key::ProxyId;
use ursa_model::pipeline::PipelineConfig;

use crate::offline::offline;
use crate::parts;
use crate::proxy::{
    Cluster, ClusterKind, Direction, HttpListener, Listener, ListenerKind, ListenerTls,
    ProxyConfig, Route, RouteConfig,
};
use crate::resources::resources;

/// What the library calls the hook before the tracer.
pub(crate) const EXTRACT: &str = "extract";
/// What the library calls the hook after the tracer.
pub(crate) const INJECT: &str = "inject";

/// What its counters begin with.
const METRICS: &str = "ursa";

/// Trace context by the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propagation {
    /// Where the library lies, an absolute path.
    pub module: String,
    /// What both hooks are told: the formats in their order, as `w3c_tracecontext,b3;ratio=10000;strip`; rules for baggage in
    /// lines after that.
    pub formats: String,
}

/// The hook before everything else that looks at a request. Envoy: `early_header_mutation_extensions`.
pub(crate) fn extract(propagation: &Propagation) -> TypedExtensionConfig {
    let config = DynamicModuleEarlyHeaderMutation {
        dynamic_module_config: Some(module(propagation)),
        early_header_mutation_name: EXTRACT.to_owned(),
        early_header_mutation_config: Some(told(propagation)),
    };
    TypedExtensionConfig {
        name: "envoy.http.early_header_mutation.dynamic_modules".to_owned(),
        typed_config: Some(parts::any(&config)),
    }
}

/// The hook of each attempt, and the filter that must come last. Envoy: the router's `upstream_http_filters`.
pub(crate) fn inject(propagation: &Propagation) -> Vec<HttpFilter> {
    let config = DynamicModuleFilter {
        dynamic_module_config: Some(module(propagation)),
        filter_name: INJECT.to_owned(),
        filter_config: Some(told(propagation)),
        ..DynamicModuleFilter::default()
    };
    before_codec("envoy.filters.http.dynamic_modules", parts::any(&config))
}

/// Upstream filters: this one, and the one that must come last.
pub(crate) fn before_codec(name: &str, config: Any) -> Vec<HttpFilter> {
    let filter = |name: &str, config| HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    };
    vec![
        filter(name, config),
        filter("envoy.filters.http.upstream_codec", parts::any(&UpstreamCodec {})),
    ]
}

/// It stays once it is loaded: listeners come and go, each with hooks of its own.
fn module(propagation: &Propagation) -> DynamicModuleConfig {
    let file = DataSource {
        specifier: Some(data_source::Specifier::Filename(propagation.module.clone())),
        ..DataSource::default()
    };
    let file = AsyncDataSource { specifier: Some(async_data_source::Specifier::Local(file)) };
    DynamicModuleConfig {
        module: Some(file),
        do_not_close: true,
        metrics_namespace: METRICS.to_owned(),
        ..DynamicModuleConfig::default()
    }
}

fn told(propagation: &Propagation) -> Any {
    parts::any(&StringValue { value: propagation.formats.clone() })
}

/// The least that has both hooks of the library at `module`, for `envoy --mode validate`, which loads it.
///
/// # Errors
/// None that is known: it decodes what it encoded.
pub fn trial(module: &str) -> Result<Bootstrap, DecodeError> {
    let propagation = Propagation { module: module.to_owned(), formats: "b3".to_owned() };
    let name = "trial".to_owned();
    let routes = RouteConfig { name: name.clone(), routes: vec![Route::to(&name)] };
    let http = HttpListener {
        propagation: Some(propagation),
        ..HttpListener::new(&name, Direction::Inbound, routes)
    };
    let address = "127.0.0.1".to_owned();
    let proxy = ProxyConfig {
        id: ProxyId::new(&name, &name),
        service: name.clone(),
        address: address.clone(),
        mesh_tls: None,
        abilities: crate::abilities::Abilities::default(),
        listeners: vec![Listener {
            name: name.clone(),
            direction: Direction::Inbound,
            address: address.clone(),
            port: 0,
            destination: name.clone(),
            kind: ListenerKind::Http(http),
            tls: ListenerTls::Off,
            permissions: None,
            access_logs: Vec::new(),
        }],
        clusters: vec![Cluster::new(name, ClusterKind::Local { address, port: 1 }, false)],
        pipeline: PipelineConfig::default(),
    };
    offline(Bootstrap::default(), &resources(&proxy))
}
