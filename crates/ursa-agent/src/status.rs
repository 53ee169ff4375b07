//! What the agent says of itself, over HTTP on loopback: `/ready`, `/metrics`, `/status`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;
use ursa_metrics::{Registry, Usage, agent};
use ursa_model::ProxyId;

use crate::admin::Admin;
use crate::process::EnvoyStatus;
use crate::relay::Handle;
use crate::telemetry::Telemetry;
use crate::upstream::ConnectionStatus;

/// Everything that can be asked. Clones ask the same.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    asked: Arc<Asked>,
}

#[derive(Debug)]
struct Asked {
    id: ProxyId,
    control_plane: Url,
    envoy_version: String,
    admin: Admin,
    relay: Handle,
    telemetry: Telemetry,
    envoy: watch::Receiver<EnvoyStatus>,
    connection: watch::Receiver<ConnectionStatus>,
    registry: Registry,
    /// Process and CPU seconds of the last look, to count what came since.
    cpu: Mutex<[(u32, f64); 2]>,
}

impl Status {
    #[expect(clippy::too_many_arguments, reason = "it is asked about every part")]
    pub(crate) fn new(
        id: ProxyId,
        control_plane: Url,
        envoy_version: String,
        admin: Admin,
        relay: Handle,
        telemetry: Telemetry,
        (envoy, connection): (watch::Receiver<EnvoyStatus>, watch::Receiver<ConnectionStatus>),
        registry: Registry,
    ) -> Self {
        let info = registry.gauge(&agent::INFO);
        info.with(&[env!("CARGO_PKG_VERSION"), &envoy_version]).set(1.0);
        let cpu = Mutex::default();
        let asked = Asked {
            id,
            control_plane,
            envoy_version,
            admin,
            relay,
            telemetry,
            envoy,
            connection,
            registry,
            cpu,
        };
        Self { asked: Arc::new(asked) }
    }

    /// State of Envoy's process.
    pub(crate) fn envoy(&self) -> EnvoyStatus {
        self.asked.envoy.borrow().clone()
    }

    /// Whether Envoy is live and has a configuration from the control plane.
    pub(crate) async fn is_ready(&self) -> bool {
        self.not_ready().await.is_none()
    }

    /// What is missing to be ready.
    async fn not_ready(&self) -> Option<&'static str> {
        if !self.asked.relay.is_configured() {
            return Some("the control plane has given no configuration yet");
        }
        (!self.asked.admin.is_live().await).then_some("Envoy is not live")
    }

    async fn json(&self) -> Value {
        let Asked { id, control_plane, envoy_version, admin, relay, telemetry, .. } = &*self.asked;
        let missing = self.not_ready().await;
        let (relay, live) = (relay.status().await, admin.is_live().await);
        let (envoy, connection) = (self.envoy(), self.asked.connection.borrow().clone());
        json!({
            "mesh": id.mesh,
            "name": id.name,
            "version": env!("CARGO_PKG_VERSION"),
            "ready": missing.is_none(),
            "missing": missing,
            "controlPlane": {
                "url": control_plane.as_str(),
                "connected": connection.connected,
                "error": connection.error,
            },
            "envoy": {
                "version": envoy_version,
                "pid": envoy.pid,
                "live": live,
                "connected": relay.envoy_connected,
                "restarts": envoy.restarts,
                "lastEnd": envoy.last_end,
            },
            "resources": relay.types,
            "telemetry": telemetry.status().await,
        })
    }

    async fn metrics(&self) -> String {
        let registry = &self.asked.registry;
        let live = self.asked.admin.is_live().await;
        registry.gauge(&agent::ENVOY_READY).with(&[]).set(f64::from(u8::from(live)));
        let pids = [Some(std::process::id()), self.envoy().pid];
        let mut last = self.asked.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        for ((process, pid), last) in ["agent", "envoy"].into_iter().zip(pids).zip(&mut *last) {
            let resident = registry.gauge(&agent::PROCESS_RESIDENT_MEMORY_BYTES);
            let open_fds = registry.gauge(&agent::PROCESS_OPEN_FDS);
            let cpu = registry.seconds_counter(&agent::PROCESS_CPU_SECONDS).with(&[process]);
            let Some((pid, usage)) = pid.and_then(|pid| Some((pid, Usage::of(pid)?))) else {
                resident.with(&[process]).set(0.0);
                open_fds.with(&[process]).set(0.0);
                continue;
            };
            resident.with(&[process]).set(usage.resident);
            open_fds.with(&[process]).set(usage.open_fds);
            let before = if last.0 == pid { last.1 } else { 0.0 };
            cpu.inc_by((usage.cpu - before).max(0.0));
            *last = (pid, usage.cpu);
        }
        drop(last);
        registry.encode()
    }
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, status: Status, stop: CancellationToken) {
    let router = Router::new()
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(show))
        .with_state(status);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "serving the status ended");
    }
}

async fn ready(State(status): State<Status>) -> impl IntoResponse {
    match status.not_ready().await {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")),
    }
}

async fn metrics(State(status): State<Status>) -> impl IntoResponse {
    ([(CONTENT_TYPE, ursa_metrics::CONTENT_TYPE)], status.metrics().await)
}

async fn show(State(status): State<Status>) -> impl IntoResponse {
    Json(status.json().await)
}
