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
use ursa_model::dataplane::Protocol;
use ursa_model::key::ProxyId;
use ursa_model::pipeline::PipelineConfig;
pub use ursa_propagation::Formats;
use ursa_propagation::{Format, Writer};

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
/// Room for a list with all that can be in it.
const FORMATS_MAX: usize = 128;

/// Trace context by the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propagation {
    /// Where the library lies, an absolute path.
    pub module: String,
    /// The formats in their order.
    pub formats: Formats,
    /// Rules for baggage, a line each ([`ursa_propagation::baggage::Rules`]); `None` if there are none.
    pub rules: Option<String>,
}

impl Propagation {
    /// Without rules.
    pub fn new(module: impl Into<String>, formats: Formats) -> Self {
        Self { module: module.into(), formats, rules: None }
    }

    /// What both hooks are told: the formats, as `w3c_tracecontext,b3;ratio=10000;strip`, and the rules in lines after that.
    pub fn told(&self) -> String {
        let mut bytes = [0; FORMATS_MAX];
        let mut out = Writer::new(&mut bytes);
        self.formats.write(&mut out);
        let mut told = String::from_utf8_lossy(out.text().unwrap_or_default()).into_owned();
        if let Some(rules) = &self.rules {
            told.push('\n');
            told.push_str(rules);
        }
        told
    }
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
    parts::any(&StringValue { value: propagation.told() })
}

/// The least that has both hooks of the library at `module`, for `envoy --mode validate`, which loads it.
///
/// # Errors
/// None that is known: it decodes what it encoded.
pub fn trial(module: &str) -> Result<Bootstrap, DecodeError> {
    let formats = Formats::none();
    let propagation = Propagation::new(module, formats.with(Format::B3).unwrap_or(formats));
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
            inbound: None,
            kind: ListenerKind::Http(http),
            tls: ListenerTls::Off,
            permissions: None,
            access_logs: Vec::new(),
        }],
        clusters: vec![Cluster::new(
            &name,
            &name,
            ClusterKind::Local { address, port: 1 },
            Protocol::Http,
        )],
        pipeline: PipelineConfig::default(),
    };
    offline(Bootstrap::default(), &resources(&proxy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_all_that_can_be_told() {
        let all = Format::ALL.into_iter().fold(Formats::none(), |all, it| all.with(it).unwrap());
        let all = all.with_ratio(123_456).unwrap().stripping(true);
        let told = Propagation::new("/m.so", all).told();
        assert_eq!(Formats::parse(told.as_bytes()), Some(all));
    }
}
