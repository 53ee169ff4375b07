//! What this server is, and whether it works.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;
use ursa_model::ResourceKey;

use super::Api;
use super::problem::Problem;

/// What `/` tells.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    product: &'static str,
    tagline: &'static str,
    version: &'static str,
    hostname: String,
    instance_id: String,
    mode: &'static str,
    gui: &'static str,
}

impl About {
    pub(crate) fn new(hostname: &str, instance_id: &str) -> Self {
        Self {
            product: "Ursa",
            // Kuma's own command line refuses to talk to anything else.
            tagline: "Kuma",
            version: env!("CARGO_PKG_VERSION"),
            hostname: hostname.to_owned(),
            instance_id: instance_id.to_owned(),
            mode: "zone",
            gui: "/gui",
        }
    }
}

/// JSON for programs; people are sent to the live view.
pub(crate) async fn index(State(api): State<Api>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        // 302, so that nothing remembers it for the programs.
        return (StatusCode::FOUND, Redirect::to("/gui")).into_response();
    }
    Json(&*api.about).into_response()
}

/// Whether the store answers.
pub(crate) async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    api.resources.get(&ResourceKey::global("Mesh", "default")).await?;
    Ok("ready\n")
}
