//! What the names under which Envoy counts stand for.

use std::collections::BTreeMap;

use ursa_envoy::bootstrap::{ADS_CLUSTER, OTLP_CLUSTER};
use ursa_envoy::proxy::{
    Cluster, ClusterKind, Direction, Listener, ListenerKind, ProxyConfig, stat_name,
};
use ursa_model::pipeline::metrics::{Entity, TrafficDirection};

/// Names of Envoy's own: its admin interface, and its requests to its agent.
const OWN_LISTENERS: [&str; 2] = ["admin", "async-client"];

/// The listeners by the names of their statistics, of their connection managers and of their TCP proxies.
pub(super) fn listeners(proxy: &ProxyConfig) -> BTreeMap<String, Entity> {
    let own = OWN_LISTENERS.map(|name| (name.to_owned(), system()));
    let of = |listener: &Listener| {
        let manager = match &listener.kind {
            ListenerKind::Http(http) => Some(stat_name(&http.stat_prefix)),
            ListenerKind::Tcp(_) => None,
        };
        let names = [Some(stat_name(&listener.name)), manager];
        names.into_iter().flatten().map(|name| (name, entity(listener))).collect::<Vec<_>>()
    };
    own.into_iter().chain(proxy.listeners.iter().flat_map(of)).collect()
}

/// The clusters by the names of their statistics.
pub(super) fn clusters(proxy: &ProxyConfig) -> BTreeMap<String, Entity> {
    let own = [ADS_CLUSTER, OTLP_CLUSTER].map(|name| (name.to_owned(), system()));
    let of = |listener: &Listener| {
        let named =
            listener.clusters().into_iter().map(|cluster| (stat_name(cluster), entity(listener)));
        named.collect::<Vec<_>>()
    };
    // Routes lead to other services than their listener's too.
    let of_service = |cluster: &Cluster| match cluster.kind {
        ClusterKind::Local { .. } => None,
        ClusterKind::Eds { .. } => {
            Some((stat_name(&cluster.name), outbound(cluster.destination.clone())))
        }
    };
    let of_services = proxy.clusters.iter().filter_map(of_service);
    own.into_iter().chain(proxy.listeners.iter().flat_map(of)).chain(of_services).collect()
}

fn entity(listener: &Listener) -> Entity {
    match listener.direction {
        Direction::Inbound => Entity { direction: TrafficDirection::Inbound, destination: None },
        Direction::Outbound => outbound(listener.destination.clone()),
    }
}

fn outbound(destination: String) -> Entity {
    Entity { direction: TrafficDirection::Outbound, destination: Some(destination) }
}

fn system() -> Entity {
    Entity { direction: TrafficDirection::System, destination: None }
}
