//! What Envoy's clusters and listeners stand for.

use std::collections::BTreeMap;

use ursa_model::pipeline::metrics::{Collection, Entity};

use crate::Labels;

/// The labels by which Envoy's series name a listener.
const OF_LISTENERS: [&str; 4] =
    ["envoy_http_conn_manager_prefix", "envoy_listener_address", "envoy_tcp_prefix", "listener"];
/// The label by which Envoy's series name a cluster.
pub(crate) const OF_CLUSTERS: &str = "envoy_cluster_name";

/// What Envoy's clusters and listeners stand for, by the names under which it counts them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entities {
    clusters: BTreeMap<String, Entity>,
    listeners: BTreeMap<String, Entity>,
}

impl Entities {
    /// As the control plane says.
    pub fn new(collection: &Collection) -> Self {
        Self { clusters: collection.clusters.clone(), listeners: collection.listeners.clone() }
    }

    /// What a cluster stands for.
    pub fn cluster(&self, name: &str) -> Option<&Entity> {
        self.clusters.get(name)
    }

    /// What a series is of: its listener or cluster.
    pub(crate) fn of(&self, labels: &Labels) -> Option<&Entity> {
        labels.iter().find_map(|(name, value)| match name {
            OF_CLUSTERS => self.clusters.get(value),
            _ if OF_LISTENERS.contains(&name) => self.listeners.get(value),
            _ => None,
        })
    }
}
