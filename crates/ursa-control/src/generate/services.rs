//! Services as proxies send to them.

use ursa_envoy::proxy::{Cluster, ClusterKind, Endpoint};
use ursa_model::dataplane::{Outbound, Protocol, SERVICE_TAG};
use ursa_policies::backends::ServiceRef;

use super::{Site, tls};
use crate::snapshot::{Instance, MeshSnapshot};

/// The service that an outbound leads to; `None` if it names none.
pub(super) fn of_outbound(outbound: &Outbound) -> Option<ServiceRef> {
    let name = outbound.service()?.to_owned();
    Some(match &outbound.backend_ref {
        Some(reference) => ServiceRef { name, port: reference.port, tags: [].into() },
        None => {
            let mut tags = outbound.tags.clone();
            tags.remove(SERVICE_TAG);
            ServiceRef { name, port: None, tags }
        }
    })
}

/// The cluster of a service in the mesh of this name, and what all of its endpoints speak.
pub(crate) fn cluster(
    service: &ServiceRef,
    (mesh_name, mesh): (&str, &MeshSnapshot),
    site: &Site,
) -> (Cluster, Protocol) {
    let is_meant = |instance: &&Instance| {
        service.port.is_none_or(|port| port == instance.port)
            && service.tags.iter().all(|(key, value)| instance.tags.get(key) == Some(value))
    };
    let instances: Vec<_> = mesh.instances(&service.name).iter().filter(is_meant).collect();
    let protocol = common_protocol(&instances);
    let endpoints = instances.iter().map(|instance| Endpoint {
        zone: Some(site.zone.clone()),
        address: instance.address.clone(),
        port: instance.port,
        tags: instance.tags.clone(),
    });
    let kind = ClusterKind::Eds { endpoints: endpoints.collect() };
    let cluster = Cluster {
        tls: tls::to_instances(mesh_name, mesh, service, &instances),
        ..Cluster::new(name(service), &service.name, kind, protocol)
    };
    (cluster, protocol)
}

/// The service's name; what narrows it follows.
fn name(service: &ServiceRef) -> String {
    let mut name = service.name.clone();
    let tags = service.tags.iter().map(|(key, value)| format!("{key}={value}"));
    for narrowing in service.port.map(|port| port.to_string()).into_iter().chain(tags) {
        name.push(':');
        name.push_str(&narrowing);
    }
    name
}

/// What all instances speak: of different kinds of HTTP the one that they share, else TCP.
fn common_protocol(instances: &[&Instance]) -> Protocol {
    let mut protocols = instances.iter().map(|instance| instance.protocol);
    let Some(first) = protocols.next() else { return Protocol::Tcp };
    protocols.fold(first, |common, next| match (common, next) {
        (a, b) if a == b => a,
        (Protocol::Grpc, Protocol::Http2) | (Protocol::Http2, Protocol::Grpc) => Protocol::Http2,
        (Protocol::Tcp, _) | (_, Protocol::Tcp) => Protocol::Tcp,
        _ => Protocol::Http,
    })
}
