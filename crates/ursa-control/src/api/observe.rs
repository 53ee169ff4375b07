//! The control plane's own metrics, and what requests cost.

use std::collections::BTreeMap;

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use ursa_metrics::CONTENT_TYPE;
use ursa_store::Filter;

use super::Api;
use super::problem::Problem;
use crate::metrics::Metrics;

/// The methods that requests are measured under; others, which clients may make up, are `other`.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// Measures a request under its route's pattern.
pub(crate) async fn measure(
    State(metrics): State<Metrics>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = METHODS.into_iter().find(|known| known == request.method());
    let method = method.unwrap_or("other");
    let handler = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let handler = handler.unwrap_or("none").to_owned();
    let response = next.run(request).await;
    let code = response.status();
    let labels = [code.as_str(), handler.as_str(), method];
    metrics.api_seconds.with(&labels).observe(started.elapsed().as_secs_f64());
    if let Some(bytes) = response.body().size_hint().exact() {
        metrics.api_bytes.with(&labels).observe(bytes as f64);
    }
    response
}

/// All metrics, those that are states taken now.
pub(crate) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let mut stale = 0_usize;
    let mut by_type: BTreeMap<&str, usize> = BTreeMap::new();
    for connection in api.planner.proxies.all() {
        let Some(target) = connection.target() else { continue };
        let acknowledged = connection.state().acknowledged();
        for (type_url, resources) in target.resources.iter() {
            *by_type.entry(type_url).or_default() += resources.len();
        }
        let current = target.resources.iter().all(|(type_url, resources)| {
            acknowledged.get(type_url).is_some_and(|acknowledged| {
                acknowledged.len() == resources.len()
                    && resources
                        .iter()
                        .all(|(name, it)| acknowledged.get(name) == Some(&it.version))
            })
        });
        stale += usize::from(!current);
    }
    api.metrics.stale.set(stale as f64);
    for type_url in ursa_envoy::resources::TYPES {
        let count = by_type.get(type_url).copied().unwrap_or_default();
        api.metrics.envoy_resources.with(&[type_url]).set(count as f64);
    }

    let soonest = api.holders.soonest();
    for (mesh, _) in api.planner.snapshots().iter() {
        match soonest.get(mesh) {
            Some(end) => api.metrics.soonest.with(&[mesh]).set(*end as f64),
            None => api.metrics.soonest.remove(&[mesh]),
        }
    }

    let mut stored: BTreeMap<String, usize> =
        api.resources.kinds().iter().map(|kind| (kind.name.to_owned(), 0)).collect();
    for record in api.resources.list(&Filter::default()).await?.records {
        *stored.entry(record.key.kind).or_default() += 1;
    }
    for (kind, count) in &stored {
        api.metrics.stored.with(&[kind]).set(*count as f64);
    }
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.show(&api.window.totals())))
}
