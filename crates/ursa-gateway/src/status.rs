//! What the gateway says of itself, over HTTP: `/ready`, `/metrics`, `/status`,
//! `/audit/{trace}`.
//!
//! `/status` has the pipeline's part under `telemetry`, as the agent's has, so that whoever reads
//! the one reads the other.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use ursa_metrics::{Registry, Usage, gateway as metrics};
use ursa_pipeline::{Audit, Pipeline};

/// Everything that can be asked. Clones ask the same.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Whoever asks must not keep it from ending.
    pipeline: Weak<Pipeline>,
    registry: Registry,
    /// CPU seconds of the last look, to count what came since.
    cpu: Arc<Mutex<f64>>,
}

impl Asked {
    pub(crate) fn new(pipeline: &Arc<Pipeline>, registry: Registry) -> Self {
        Self { pipeline: Arc::downgrade(pipeline), registry, cpu: Arc::default() }
    }

    async fn json(&self) -> Value {
        let telemetry = match self.pipeline.upgrade() {
            Some(pipeline) => Some(pipeline.status().await),
            None => None,
        };
        json!({"version": env!("CARGO_PKG_VERSION"), "telemetry": telemetry})
    }

    fn metrics(&self) -> String {
        if let Some(usage) = Usage::own() {
            let gauge = |metric| self.registry.gauge(metric).with(&[]);
            gauge(&metrics::PROCESS_RESIDENT_MEMORY_BYTES).set(usage.resident);
            gauge(&metrics::PROCESS_OPEN_FDS).set(usage.open_fds);
            let mut last = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
            let counter = self.registry.seconds_counter(&metrics::PROCESS_CPU_SECONDS);
            counter.with(&[]).inc_by((usage.cpu - *last).max(0.0));
            *last = usage.cpu;
        }
        self.registry.encode()
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, asked: Asked, stop: CancellationToken) {
    let router = Router::new()
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(show))
        .route("/audit/{trace}", get(audit))
        .with_state(asked);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "serving the status ended");
    }
}

async fn ready(State(asked): State<Asked>) -> impl IntoResponse {
    match asked.pipeline.strong_count() {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        _ => (StatusCode::OK, "ready\n"),
    }
}

async fn metrics(State(asked): State<Asked>) -> impl IntoResponse {
    ([(CONTENT_TYPE, ursa_metrics::CONTENT_TYPE)], asked.metrics())
}

async fn show(State(asked): State<Asked>) -> impl IntoResponse {
    Json(asked.json().await)
}

async fn audit(
    State(asked): State<Asked>,
    Path(trace): Path<String>,
) -> Result<Json<Audit>, (StatusCode, String)> {
    let id = trace_id(&trace).ok_or_else(|| {
        (StatusCode::BAD_REQUEST, format!("`{trace}` is no trace id: it has 32 hex digits\n"))
    })?;
    let stopping = || (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    let pipeline = asked.pipeline.upgrade().ok_or_else(stopping)?;
    Ok(Json(pipeline.audit(id)))
}

/// The id that 32 hex digits write.
fn trace_id(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u128::from_str_radix(text, 16).ok().filter(|_| digits)?;
    Some(id.to_be_bytes())
}
