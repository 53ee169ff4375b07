//! The same configuration without xDS, for `envoy --mode validate`, which fetches none.

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use prost::{DecodeError, Message, Name};

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
        fixed.clusters.push(cluster);
    }
    for resource in of_type(resources, LDS) {
        let mut listener = Listener::decode(resource.body.value.as_slice())?;
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

fn of_type<'a>(resources: &'a Resources, kind: &str) -> impl Iterator<Item = &'a Resource> {
    resources.get(kind).into_iter().flat_map(|resources| resources.values())
}

fn named<'a>(resources: &'a Resources, kind: &str, name: &str) -> Option<&'a Resource> {
    resources.get(kind)?.get(name)
}
