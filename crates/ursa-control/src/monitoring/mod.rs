//! Telling Prometheus where proxies answer it: HTTP service discovery, and Kuma's monitoring assignments (MADS).
//!
//! Both tell the same: of each Dataplane of the store, whether or not its agent is connected, the endpoint that the MeshMetrics say, with its
//! mesh, name, service, labels and tags. A proxy may answer several Prometheis: each is told of the endpoint that has its client id, and one whose
//! id no endpoint has is told of those without.

mod assignment;
mod grpc;
pub(crate) mod http_sd;
mod rest;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Router, middleware};
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ursa_model::dataplane::SERVICE_TAG;
use ursa_model::pipeline::metrics::{PrometheusEndpoint, PrometheusTls};
use ursa_model::{Authority, ProxyId};
use ursa_policies::mesh_metric::endpoints;

use self::assignment::Assignments;
pub(crate) use self::grpc::{FETCH, STREAM};
use crate::api::{Access, admit};
use crate::planner::Planner;
use crate::snapshot::{Proxy, Snapshots};

/// Bytes of one request.
const MAX_REQUEST: usize = 64 << 10;
/// How long changes are gathered before they are told.
const SETTLE: Duration = Duration::from_millis(200);

/// Where one proxy answers one Prometheus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    id: ProxyId,
    service: String,
    /// `host:port`.
    address: String,
    /// `http` or `https`.
    scheme: &'static str,
    path: String,
    /// The Dataplane's labels, and the tags of its inbounds.
    labels: BTreeMap<String, String>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Client<'a> {
    /// A Prometheus of that name; one that no endpoint has is no different from any other.
    Named(&'a str),
    /// Somebody without a name, who is told of every proxy.
    Unnamed,
}

/// Where the proxies of all meshes answer `client`, by mesh and name.
pub(crate) fn targets(snapshots: &Snapshots, zone: &str, client: Client<'_>) -> Vec<Target> {
    let mut found = Vec::new();
    for (_, mesh) in snapshots.iter() {
        for proxy in mesh.proxies.values() {
            let endpoints = endpoints(&mesh.policies, &proxy.subject(zone));
            if !endpoints.is_empty() {
                found.push((proxy, endpoints));
            }
        }
    }
    let ids: BTreeSet<&str> = found
        .iter()
        .flat_map(|(_, endpoints)| endpoints)
        .filter_map(|endpoint| endpoint.client_id.as_deref())
        .collect();
    let wanted = match client {
        Client::Named(name) if ids.contains(name) => Some(name),
        _ => None,
    };
    let is_meant = |endpoint: &&PrometheusEndpoint| endpoint.client_id.as_deref() == wanted;
    let of = |(proxy, endpoints): &(&Arc<Proxy>, Vec<PrometheusEndpoint>)| {
        let meant = endpoints.iter().find(is_meant);
        let any = || match client {
            Client::Unnamed => endpoints.first(),
            Client::Named(_) => None,
        };
        meant.or_else(any).map(|endpoint| target(proxy, endpoint))
    };
    found.iter().filter_map(of).collect()
}

fn target(proxy: &Proxy, endpoint: &PrometheusEndpoint) -> Target {
    let host = &proxy.dataplane.networking.address;
    let address = Authority { host, port: endpoint.port }.to_string();
    let mut labels = BTreeMap::new();
    for (name, value) in proxy.dataplane.tag_sets().chain([&proxy.labels]).flatten() {
        if name != SERVICE_TAG {
            labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    Target {
        id: proxy.id.clone(),
        service: proxy.dataplane.service(&proxy.labels, &proxy.id.name).to_owned(),
        address,
        scheme: match endpoint.tls {
            PrometheusTls::Disabled => "http",
            PrometheusTls::ProvidedTls | PrometheusTls::ActiveMtlsBackend => "https",
        },
        path: endpoint.path.clone(),
        labels,
    }
}

/// Monitoring assignments: the port of Kuma's `kuma_sd_configs`.
#[derive(Debug, Clone)]
pub(crate) struct Monitoring {
    pub(crate) planner: Arc<Planner>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Monitoring {
    /// All of its routes, REST and gRPC. The API's rules of access hold.
    pub(crate) fn router(self, access: Access) -> Router {
        Router::new()
            .route(rest::PATH, post(rest::fetch))
            .route(grpc::STREAM, post(grpc::stream))
            .route(grpc::FETCH, post(grpc::fetch))
            .with_state(self)
            .layer(DefaultBodyLimit::max(MAX_REQUEST))
            .layer(middleware::from_fn_with_state(access, admit))
    }

    /// What `client` is told, once it is something else than at `version`. `None` when that takes longer than `wait`, or the control plane ends.
    async fn newer(&self, client: &str, version: &str, wait: Duration) -> Option<Assignments> {
        let mut changes = self.planner.changes();
        let news = async {
            loop {
                let snapshots = Arc::clone(&changes.borrow_and_update());
                let zone = &self.planner.site().zone;
                let started = Instant::now();
                let targets = targets(&snapshots, zone, Client::Named(client));
                let assignments = Assignments::of(&targets);
                self.planner.metrics.component_ran("monitoring", started.elapsed());
                if assignments.version != version {
                    return Some(assignments);
                }
                changes.changed().await.ok()?;
                sleep(SETTLE).await;
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            news = news => news,
            () = sleep(wait) => None,
        }
    }
}
