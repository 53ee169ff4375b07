//! Mutual TLS in a proxy's configuration.

use std::collections::BTreeMap;

use ursa_envoy::proxy::{ListenerTls, MeshTls, UpstreamTls};
use ursa_envoy::resources::Resource;
use ursa_model::mesh::MtlsMode;
use ursa_policies::backends::ServiceRef;

use crate::identity::trust;
use crate::snapshot::{Instance, MeshSnapshot, Proxy};

/// Certificates of the mesh, if mTLS is on.
pub(super) fn of_mesh(mesh: &MeshSnapshot, proxy: &Proxy) -> Option<MeshTls> {
    mesh.enabled().map(|_| MeshTls { trust_domain: proxy.id.mesh.clone() })
}

/// What inbounds ask of their clients.
pub(super) fn of_inbounds(mesh: &MeshSnapshot) -> ListenerTls {
    match mesh.enabled() {
        None => ListenerTls::Off,
        Some((_, MtlsMode::Permissive)) => ListenerTls::Permissive,
        Some((_, MtlsMode::Strict)) => ListenerTls::Strict,
    }
}

/// TLS to the instances of a service. Where they need not be called so, they are from when all of them can be: one that
/// has no certificate yet would refuse.
pub(super) fn to_instances(
    mesh_name: &str,
    mesh: &MeshSnapshot,
    service: &ServiceRef,
    instances: &[&Instance],
) -> Option<UpstreamTls> {
    let (_, mode) = mesh.enabled()?;
    let secured = || instances.iter().all(|instance| mesh.secured.holds(&instance.proxy));
    (mode == MtlsMode::Strict || secured()).then(|| UpstreamTls {
        sni: server_name(service, mesh_name),
        services: vec![service.name.clone()],
    })
}

/// The server name by which a service is asked for, as Kuma 2.x writes it: `web{mesh=default,version=v1}`.
fn server_name(service: &ServiceRef, mesh: &str) -> String {
    let tags = service.tags.iter();
    let mut parts: BTreeMap<&str, &str> = tags.map(|(key, value)| (&**key, &**value)).collect();
    parts.insert("mesh", mesh);
    let parts: Vec<_> = parts.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{}{{{}}}", service.name, parts.join(","))
}

/// What the agent is told about the proxy's certificate, if mTLS is on; and what does not work.
pub(super) fn identity(
    mesh: &MeshSnapshot,
    proxy: &Proxy,
) -> Option<(BTreeMap<String, Resource>, Option<String>)> {
    let (backend, _) = mesh.enabled()?;
    let problem =
        mesh.trust.problems.get(&backend.name).map(|why| {
            format!("the authority `{}` cannot be used as it is now: {why}", backend.name)
        });
    Some((trust::resource(&mesh.trust.identity(backend, proxy)), problem))
}
