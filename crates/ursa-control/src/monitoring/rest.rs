//! Monitoring assignments over REST, as Prometheus' `kuma_sd_configs` asks for them: a long poll.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Duration;

use super::Monitoring;
use crate::api::Problem;

/// The path. xDS: "REST-JSON polling subscriptions".
pub(super) const PATH: &str = "/v3/discovery:monitoringassignments";
/// How long a request waits for news unless it says so: Kuma's default.
const WAIT: Duration = Duration::from_secs(30);
/// How long it waits at most.
const MAX_WAIT: Duration = Duration::from_mins(10);

/// What is read of a DiscoveryRequest in JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    #[serde(alias = "versionInfo")]
    version_info: String,
    node: Node,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Wait {
    fetch_timeout: Option<String>,
}

/// The assignments, once they are others than the client has; 304 when they stay as they are.
pub(super) async fn fetch(
    State(monitoring): State<Monitoring>,
    Query(wait): Query<Wait>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let request: Request = serde_json::from_slice(&body?)
        .map_err(|error| Problem::parameter("body", format!("is no DiscoveryRequest: {error}")))?;
    let wait = match wait.fetch_timeout {
        None => WAIT,
        Some(text) => {
            let wait: ursa_model::duration::Duration = text
                .parse()
                .map_err(|error| Problem::parameter("fetch-timeout", format!("{error}")))?;
            wait.get().min(MAX_WAIT)
        }
    };
    let newer = monitoring.newer(&request.node.id, &request.version_info, wait).await;
    Ok(match newer {
        Some(assignments) => Json(assignments.json()).into_response(),
        None => StatusCode::NOT_MODIFIED.into_response(),
    })
}
