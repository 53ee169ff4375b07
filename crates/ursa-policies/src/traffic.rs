//! What one kind of policy says of each listener and each cluster of a proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use ursa_envoy::proxy::{ClusterKind, Direction, ProxyConfig};

use crate::backends::Applied;
use crate::kind::Merged;

/// Settings in the order of a proxy's listeners, and of its clusters. None: nobody says anything.
pub(crate) struct Traffic<C> {
    pub(crate) listeners: Vec<Option<Arc<C>>>,
    pub(crate) clusters: Vec<Option<Arc<C>>>,
}

/// Of what goes out a listener and a cluster have the settings of their service; of what comes in the cluster has those of the port that leads to
/// it.
pub(crate) fn settings<C: Default + DeserializeOwned>(
    merged: &Merged<'_, C>,
    proxy: &ProxyConfig,
    applied: &mut Applied,
) -> Traffic<C> {
    let mut known = Known { merged, applied, inbound: BTreeMap::new(), outbound: BTreeMap::new() };
    let listeners = proxy.listeners.iter().map(|listener| match listener.direction {
        Direction::Inbound => known.inbound(listener.port),
        Direction::Outbound => known.outbound(&listener.destination),
    });
    let listeners = listeners.collect();
    let inbounds = proxy.listeners.iter().filter(|it| it.direction == Direction::Inbound);
    let mut ports = BTreeMap::new();
    for listener in inbounds {
        for cluster in listener.clusters() {
            ports.entry(cluster).or_insert(listener.port);
        }
    }
    let clusters = proxy.clusters.iter().map(|cluster| match cluster.kind {
        ClusterKind::Local { .. } => known.inbound(*ports.get(cluster.name.as_str())?),
        ClusterKind::Eds { .. } => known.outbound(&cluster.destination),
    });
    let clusters = clusters.collect();
    Traffic { listeners, clusters }
}

/// Each is merged once, however many listeners and clusters it is for.
struct Known<'a, 'm, C> {
    merged: &'a Merged<'m, C>,
    applied: &'a mut Applied,
    inbound: BTreeMap<u16, Option<Arc<C>>>,
    outbound: BTreeMap<String, Option<Arc<C>>>,
}

impl<C: Default + DeserializeOwned> Known<'_, '_, C> {
    fn inbound(&mut self, port: u16) -> Option<Arc<C>> {
        let Self { merged, applied, inbound, .. } = self;
        let settings = inbound.entry(port).or_insert_with(|| {
            let one = merged.inbound(port, applied).into_iter().next();
            one.map(|settings| Arc::new(settings.conf))
        });
        settings.clone()
    }

    fn outbound(&mut self, service: &str) -> Option<Arc<C>> {
        if let Some(settings) = self.outbound.get(service) {
            return settings.clone();
        }
        let said = self.merged.is_said();
        let settings = said.then(|| Arc::new(self.merged.outbound(service, self.applied).conf));
        self.outbound.insert(service.to_owned(), settings.clone());
        settings
    }
}
