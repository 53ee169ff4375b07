//! Clusters and their endpoints.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::cluster::v3::{
    self as envoy, CircuitBreakers, TrackClusterStats, circuit_breakers, cluster,
};
use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};

use crate::parts;
use crate::proxy::{Cluster, ClusterKind, Endpoint, stat_name};

/// How long a connection may take to open. Envoy: `connect_timeout`, default 5 s.
const CONNECT_TIMEOUT_SECONDS: i64 = 10;

/// A cluster as Envoy reads it.
pub(crate) fn cluster(cluster: &Cluster) -> envoy::Cluster {
    let (kind, load_assignment, eds_cluster_config) = match &cluster.kind {
        ClusterKind::Local { address, port } => {
            let application = parts::lb_endpoint(parts::socket_address(address, *port));
            let assignment = one_locality(&cluster.name, vec![application]);
            (cluster::DiscoveryType::Static, Some(assignment), None)
        }
        ClusterKind::Eds { .. } => {
            let eds = cluster::EdsClusterConfig {
                eds_config: Some(parts::ads()),
                ..cluster::EdsClusterConfig::default()
            };
            (cluster::DiscoveryType::Eds, None, Some(eds))
        }
    };
    let stat_name = stat_name(&cluster.name);
    envoy::Cluster {
        name: cluster.name.clone(),
        alt_stat_name: if stat_name == cluster.name { String::new() } else { stat_name },
        cluster_discovery_type: Some(envoy::cluster::ClusterDiscoveryType::Type(kind as i32)),
        load_assignment,
        eds_cluster_config,
        connect_timeout: Some(parts::seconds(CONNECT_TIMEOUT_SECONDS)),
        typed_extension_protocol_options: cluster.http2.then(parts::http2).into_iter().collect(),
        // Envoy's own limits; the gauges of what remains of them exist only if asked for.
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![circuit_breakers::Thresholds {
                track_remaining: true,
                ..circuit_breakers::Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        track_cluster_stats: Some(TrackClusterStats {
            timeout_budgets: true,
            ..TrackClusterStats::default()
        }),
        ..envoy::Cluster::default()
    }
}

/// The endpoints of an EDS cluster, grouped by zone and sorted, so that the order in which the
/// control plane learned of them does not show.
pub(crate) fn load_assignment(cluster: &str, endpoints: &[Endpoint]) -> ClusterLoadAssignment {
    let mut zones: BTreeMap<Option<&str>, BTreeSet<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        zones.entry(endpoint.zone.as_deref()).or_default().insert(endpoint);
    }
    let locality = |(zone, endpoints): (Option<&str>, BTreeSet<&Endpoint>)| LocalityLbEndpoints {
        locality: Some(Locality {
            zone: zone.unwrap_or_default().to_owned(),
            ..Locality::default()
        }),
        lb_endpoints: endpoints
            .into_iter()
            .map(|e| parts::lb_endpoint(parts::socket_address(&e.address, e.port)))
            .collect(),
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: zones.into_iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    }
}

/// Endpoints that are all in one place.
pub(crate) fn one_locality(cluster: &str, lb_endpoints: Vec<LbEndpoint>) -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}
