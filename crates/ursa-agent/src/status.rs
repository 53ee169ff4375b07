//! What the agent says of itself, over HTTP on loopback: `/ready`, `/metrics`, `/status`.

use std::sync::Arc;

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
use ursa_envoy::abilities::Abilities;
use ursa_model::ProxyId;

use crate::admin::Admin;
use crate::identity::IdentityStatus;
use crate::own_metrics::OwnMetrics;
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
    abilities: Abilities,
    admin: Admin,
    relay: Handle,
    telemetry: Telemetry,
    envoy: watch::Receiver<EnvoyStatus>,
    connection: watch::Receiver<ConnectionStatus>,
    identity: watch::Receiver<IdentityStatus>,
    own: Arc<OwnMetrics>,
}

impl Status {
    #[expect(clippy::too_many_arguments, reason = "it is asked about every part")]
    pub(crate) fn new(
        id: ProxyId,
        control_plane: Url,
        abilities: Abilities,
        admin: Admin,
        relay: Handle,
        telemetry: Telemetry,
        (envoy, connection, identity): (
            watch::Receiver<EnvoyStatus>,
            watch::Receiver<ConnectionStatus>,
            watch::Receiver<IdentityStatus>,
        ),
        own: Arc<OwnMetrics>,
    ) -> Self {
        let asked = Asked {
            id,
            control_plane,
            abilities,
            admin,
            relay,
            telemetry,
            envoy,
            connection,
            identity,
            own,
        };
        Self { asked: Arc::new(asked) }
    }

    /// State of Envoy's process.
    pub(crate) fn envoy(&self) -> EnvoyStatus {
        self.asked.envoy.borrow().clone()
    }

    /// Waits until it is known that this token will not do, before there ever was a connection; in which words. Without that it waits for ever.
    pub(crate) async fn refused_at_start(&self) -> String {
        let mut connection = self.asked.connection.clone();
        let refused = connection.wait_for(|connection| connection.refused_at_start).await;
        let words = refused.ok().and_then(|refused| refused.error.clone());
        match words {
            Some(words) => words,
            None => std::future::pending().await,
        }
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
        let Asked { id, control_plane, abilities, admin, relay, telemetry, .. } = &*self.asked;
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
                "version": abilities.envoy,
                "module": abilities.module.path(),
                "moduleProblem": abilities.module.problem(),
                "pid": envoy.pid,
                "live": live,
                "connected": relay.envoy_connected,
                "restarts": envoy.restarts,
                "lastEnd": envoy.last_end,
            },
            "identity": self.asked.identity.borrow().clone(),
            "resources": relay.types,
            "telemetry": telemetry.status().await,
            "metrics": telemetry.metrics_status().await,
        })
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
    ([(CONTENT_TYPE, ursa_metrics::CONTENT_TYPE)], status.asked.own.text().await)
}

async fn show(State(status): State<Status>) -> impl IntoResponse {
    Json(status.json().await)
}
