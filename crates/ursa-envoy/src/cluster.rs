//! Clusters and their endpoints.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::cluster::v3::{
    self as envoy, CircuitBreakers, TrackClusterStats, circuit_breakers, cluster,
};
use envoy_types::pb::envoy::config::core::v3::{HttpProtocolOptions, Locality};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::Any;

use crate::proxy::{
    Cluster, ClusterKind, ClusterTimeouts, ConnectionLimits, Endpoint, MeshTls, stat_name,
};
use crate::{health, parts, tags, tls};

/// A cluster as Envoy reads it.
pub(crate) fn cluster(cluster: &Cluster, mesh: Option<&MeshTls>) -> envoy::Cluster {
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
        connect_timeout: Some(parts::duration(cluster.timeouts.connect)),
        typed_extension_protocol_options: http_options(cluster).into_iter().collect(),
        circuit_breakers: Some(circuit_breakers(cluster.limits)),
        outlier_detection: cluster.outliers.as_ref().map(health::outlier_detection),
        health_checks: health::health_checks(cluster),
        common_lb_config: health::when_few_are_well(cluster),
        transport_socket: cluster
            .tls
            .as_ref()
            .zip(mesh)
            .map(|(tls, mesh)| tls::upstream(tls, mesh)),
        track_cluster_stats: Some(TrackClusterStats {
            timeout_budgets: true,
            ..TrackClusterStats::default()
        }),
        ..envoy::Cluster::default()
    }
}

/// Nothing where Envoy's own hold.
fn http_options(cluster: &Cluster) -> Option<(String, Any)> {
    let ClusterTimeouts { idle, max_connection_duration, max_stream_duration, .. } =
        cluster.timeouts;
    let common = HttpProtocolOptions {
        idle_timeout: idle.map(parts::duration),
        max_connection_duration: max_connection_duration.map(parts::duration),
        max_stream_duration: max_stream_duration.map(parts::duration),
        ..HttpProtocolOptions::default()
    };
    let common = (common != HttpProtocolOptions::default()).then_some(common);
    let http2 = cluster.is_http2();
    (http2 || common.is_some()).then(|| parts::http_options(http2, common))
}

/// The gauges of what remains exist only if asked for.
fn circuit_breakers(limits: ConnectionLimits) -> CircuitBreakers {
    let ConnectionLimits { connections, connection_pools, pending_requests, requests, retries } =
        limits;
    CircuitBreakers {
        thresholds: vec![circuit_breakers::Thresholds {
            max_connections: connections.map(parts::uint32),
            max_connection_pools: connection_pools.map(parts::uint32),
            max_pending_requests: pending_requests.map(parts::uint32),
            max_requests: requests.map(parts::uint32),
            max_retries: retries.map(parts::uint32),
            track_remaining: true,
            ..circuit_breakers::Thresholds::default()
        }],
        ..CircuitBreakers::default()
    }
}

/// The endpoints of an EDS cluster, grouped by zone and sorted, so that the order in which the
/// control plane learned of them does not show.
pub(crate) fn load_assignment(cluster: &Cluster, endpoints: &[Endpoint]) -> ClusterLoadAssignment {
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
            .map(|endpoint| lb_endpoint(endpoint, &cluster.tag_sets))
            .collect(),
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: cluster.name.clone(),
        endpoints: zones.into_iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint, tag_sets: &BTreeSet<BTreeMap<String, String>>) -> LbEndpoint {
    let has = |tags: &&BTreeMap<String, String>| {
        tags.iter().all(|(key, value)| endpoint.tags.get(key) == Some(value))
    };
    let own: Vec<_> = tag_sets.iter().filter(has).map(tags::text).collect();
    LbEndpoint {
        metadata: (!own.is_empty()).then(|| tags::metadata(own)),
        ..parts::lb_endpoint(parts::socket_address(&endpoint.address, endpoint.port))
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
