//! What metrics say of states: gathered when somebody asks for them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ursa_envoy::resources::TYPES;

use crate::identity::holders::Holders;
use crate::metrics::Metrics;
use crate::planner::Planner;
use crate::posture::Mtls;

/// What should hold for each proxy.
const CHECKS: [&str; 5] =
    ["mtls_strict", "permission_present", "config_acked", "telemetry_on", "cert_valid"];

/// What is known of one mesh's connected proxies.
#[derive(Debug, Default)]
struct Mesh {
    proxies: usize,
    /// Proxies for which each of [`CHECKS`] holds.
    ok: [usize; CHECKS.len()],
    services: BTreeMap<String, Mtls>,
}

/// Looks at every connected proxy, and says so in `metrics`.
pub(crate) fn gather(planner: &Planner, holders: &Holders, metrics: &Metrics) {
    let now = Timestamp::now();
    let snapshots = planner.snapshots();
    let mut meshes: BTreeMap<&str, Mesh> =
        snapshots.iter().map(|(name, _)| (name, Mesh::default())).collect();
    let connections = planner.proxies.all();
    let mut stale = 0_usize;
    let mut by_type: BTreeMap<&str, usize> = BTreeMap::new();
    for connection in &connections {
        let Some(target) = connection.target() else { continue };
        for (type_url, resources) in target.resources.iter() {
            *by_type.entry(type_url).or_default() += resources.len();
        }
        let is_current = connection.state().holds(&target.resources);
        stale += usize::from(!is_current);

        let posture = target.posture;
        let mesh = meshes.entry(&connection.id.mesh).or_default();
        mesh.proxies += 1;
        let holds = [
            posture.mtls == Mtls::Strict,
            posture.permissions,
            is_current,
            posture.telemetry,
            holders.holds_valid(&connection.id, now),
        ];
        for (count, holds) in mesh.ok.iter_mut().zip(holds) {
            *count += usize::from(holds);
        }
        let snapshot = snapshots.mesh(&connection.id.mesh);
        let proxy = snapshot.proxy(&connection.id.name);
        let served: Vec<&str> = proxy.iter().flat_map(|proxy| proxy.services()).collect();
        let own = served.is_empty().then_some(target.service.as_str());
        for service in served.into_iter().chain(own) {
            let weakest = mesh.services.entry(service.to_owned()).or_insert(posture.mtls);
            *weakest = posture.mtls.min(*weakest);
        }
    }
    metrics.stale.set(stale as f64);
    for type_url in TYPES {
        let count = by_type.get(type_url).copied().unwrap_or_default();
        metrics.envoy_resources.with(&[type_url]).set(count as f64);
    }
    let soonest = holders.soonest();
    for name in meshes.keys() {
        match soonest.get(*name) {
            Some(end) => metrics.soonest.with(&[name]).set(*end as f64),
            None => metrics.soonest.remove(&[name]),
        }
    }
    metrics.meshes_are(meshes.keys().copied());
    for (name, mesh) in meshes {
        for mtls in Mtls::ALL {
            let services = mesh.services.values().filter(|it| **it == mtls).count();
            metrics.services.with(&[name, mtls.name()]).set(services as f64);
        }
        for (check, ok) in CHECKS.into_iter().zip(mesh.ok) {
            metrics.compliance.with(&[name, check, "ok"]).set(ok as f64);
            let violating = mesh.proxies.saturating_sub(ok);
            metrics.compliance.with(&[name, check, "violating"]).set(violating as f64);
        }
    }
}

/// The series of a mesh that is gone are no longer shown.
pub(crate) fn forget(metrics: &Metrics, mesh: &str) {
    for mtls in Mtls::ALL {
        metrics.services.remove(&[mesh, mtls.name()]);
    }
    for check in CHECKS {
        for state in ["ok", "violating"] {
            metrics.compliance.remove(&[mesh, check, state]);
        }
    }
    metrics.soonest.remove(&[mesh]);
}
