//! Making tokens.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use ursa_model::ProxyId;
use ursa_model::duration::Duration;
use ursa_model::names::{validate_mesh_name, validate_resource_name};
use ursa_model::report::Report;
use ursa_model::tree::Node;

use super::Api;
use super::problem::Problem;
use crate::tokens::{Identity, TokenError};

/// How long a token lasts unless said otherwise.
const VALID_FOR: std::time::Duration = std::time::Duration::from_hours(30 * 24);

/// A proxy's token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dataplane {
    #[serde(default = "default_mesh")]
    mesh: String,
    name: String,
    valid_for: Option<Duration>,
}

fn default_mesh() -> String {
    "default".to_owned()
}

/// An administrator's token.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Admin {
    valid_for: Option<Duration>,
}

/// A token for a proxy, which need not exist yet.
pub(crate) async fn dataplane(
    State(api): State<Api>,
    body: Result<Json<Dataplane>, JsonRejection>,
) -> Result<String, Problem> {
    let Json(wanted) = body?;
    let document = Node::from_json(&json!({"mesh": wanted.mesh, "name": wanted.name}));
    let report = Report::new(&document);
    validate_mesh_name(&wanted.mesh, &report.at("mesh"));
    validate_resource_name(&wanted.name, &report.at("name"));
    let wrong = report.finish();
    if !wrong.is_empty() {
        return Err(Problem::parameters(
            wrong.into_iter().map(|it| (it.path.to_string(), it.message)),
        ));
    }
    issue(&api, &Identity::Dataplane(ProxyId::new(wanted.mesh, wanted.name)), wanted.valid_for)
}

/// A token that may do everything. The body may be empty.
pub(crate) async fn admin(
    State(api): State<Api>,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, Problem> {
    let wanted: Admin = match body?.as_ref() {
        [] => Admin::default(),
        body => serde_json::from_slice(body)
            .map_err(|error| Problem::parameter("body", error.to_string()))?,
    };
    issue(&api, &Identity::Admin, wanted.valid_for)
}

fn issue(api: &Api, identity: &Identity, valid_for: Option<Duration>) -> Result<String, Problem> {
    let valid_for = valid_for.map_or(VALID_FOR, Into::into);
    match api.tokens.issue(identity, Timestamp::now(), valid_for) {
        Ok(token) => Ok(token.expose().to_owned()),
        Err(error @ TokenError::ValidFor) => Err(Problem::parameter("validFor", error.to_string())),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a token could not be made");
            let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, "Could not make a token", error.to_string()))
        }
    }
}
