//! The control plane's own metrics, and what requests cost.

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use ursa_metrics::CONTENT_TYPE;

use super::Api;
use crate::metrics::Metrics;
use crate::states;

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
pub(crate) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let started = Instant::now();
    states::gather(&api.planner, &api.holders, &api.metrics);
    api.metrics.component_ran("metrics", started.elapsed());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.show(&api.window.totals()))
}
