//! The same configuration without xDS, for `envoy --mode validate`, which fetches none.

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, TransportSocket, api_config_source::ApiType,
    config_source::ConfigSourceSpecifier, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext,
    common_tls_context::ValidationContextType,
};
use prost::{DecodeError, Message, Name};

use crate::bootstrap::ADS_CLUSTER;
use crate::parts;
use crate::resources::{CDS, EDS, LDS, RDS, Resource, Resources};

/// `bootstrap` with `resources` as static resources: routes inside their listeners, endpoints
/// inside their clusters. What refers to a resource that is not there is left as it is.
///
/// # Errors
/// When a resource's body is not of its type.
pub fn offline(mut bootstrap: Bootstrap, resources: &Resources) -> Result<Bootstrap, DecodeError> {
    let fixed = bootstrap.static_resources.get_or_insert_default();
    for resource in of_type(resources, CDS) {
        let mut cluster = Cluster::decode(resource.body.value.as_slice())?;
        if let Some(endpoints) = named(resources, EDS, &cluster.name) {
            cluster.load_assignment =
                Some(ClusterLoadAssignment::decode(endpoints.body.value.as_slice())?);
            cluster.eds_cluster_config = None;
            cluster.cluster_discovery_type =
                Some(cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::Static as i32));
        }
        cluster.transport_socket.iter_mut().try_for_each(asking_by_itself)?;
        fixed.clusters.push(cluster);
    }
    for resource in of_type(resources, LDS) {
        let mut listener = Listener::decode(resource.body.value.as_slice())?;
        let mut sockets =
            listener.filter_chains.iter_mut().filter_map(|chain| chain.transport_socket.as_mut());
        sockets.try_for_each(asking_by_itself)?;
        let filters = listener.filter_chains.iter_mut().flat_map(|chain| &mut chain.filters);
        for config in filters.filter_map(|filter| filter.config_type.as_mut()) {
            let ConfigType::TypedConfig(any) = config else { continue };
            if any.type_url != HttpConnectionManager::type_url() {
                continue;
            }
            let mut manager = HttpConnectionManager::decode(any.value.as_slice())?;
            if let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier
                && let Some(routes) = named(resources, RDS, &rds.route_config_name)
            {
                let routes = RouteConfiguration::decode(routes.body.value.as_slice())?;
                manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes));
                *any = parts::any(&manager);
            }
        }
        fixed.listeners.push(listener);
    }
    Ok(bootstrap)
}

/// Where nothing is fetched, secrets cannot be asked for over the one stream either (1.40 crashes); a stream of their own is never opened.
fn asking_by_itself(socket: &mut TransportSocket) -> Result<(), DecodeError> {
    let Some(transport_socket::ConfigType::TypedConfig(any)) = &mut socket.config_type else {
        return Ok(());
    };
    if any.type_url == DownstreamTlsContext::type_url() {
        let mut context = DownstreamTlsContext::decode(any.value.as_slice())?;
        context.common_tls_context.iter_mut().for_each(ask);
        *any = parts::any(&context);
    } else if any.type_url == UpstreamTlsContext::type_url() {
        let mut context = UpstreamTlsContext::decode(any.value.as_slice())?;
        context.common_tls_context.iter_mut().for_each(ask);
        *any = parts::any(&context);
    }
    Ok(())
}

fn ask(context: &mut CommonTlsContext) {
    let validation = match &mut context.validation_context_type {
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.validation_context_sds_secret_config.as_mut()
        }
        _ => None,
    };
    let source = ApiConfigSource {
        api_type: ApiType::DeltaGrpc as i32,
        transport_api_version: ApiVersion::V3 as i32,
        grpc_services: vec![parts::grpc_service(ADS_CLUSTER)],
        ..ApiConfigSource::default()
    };
    for secret in context.tls_certificate_sds_secret_configs.iter_mut().chain(validation) {
        secret.sds_config = Some(ConfigSource {
            config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(source.clone())),
            ..parts::ads()
        });
    }
}

fn of_type<'a>(resources: &'a Resources, kind: &str) -> impl Iterator<Item = &'a Resource> {
    resources.get(kind).into_iter().flat_map(|resources| resources.values())
}

fn named<'a>(resources: &'a Resources, kind: &str, name: &str) -> Option<&'a Resource> {
    resources.get(kind)?.get(name)
}
