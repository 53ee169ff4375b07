//! Prometheus' HTTP service discovery.
//!
//! Labels are those of Prometheus' `kuma_sd_configs`, so that relabelling rules work with either.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::{Client, Target, targets};
use crate::api::Api;

/// Which endpoints are wanted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wanted {
    /// Of this mesh only.
    mesh: Option<String>,
    /// Those with this client id.
    #[serde(alias = "client_id")]
    client_id: Option<String>,
}

/// A group of targets.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    targets: [String; 1],
    labels: BTreeMap<String, String>,
}

/// Where proxies answer Prometheus.
pub(crate) async fn prometheus(
    State(api): State<Api>,
    Query(wanted): Query<Wanted>,
) -> Json<Vec<Group>> {
    let client = wanted.client_id.as_deref().map_or(Client::Unnamed, Client::Named);
    let targets = targets(&api.planner.snapshots(), &api.planner.site().zone, client);
    let of_mesh = |target: &&Target| wanted.mesh.as_ref().is_none_or(|it| *it == target.id.mesh);
    Json(targets.iter().filter(of_mesh).map(group).collect())
}

pub(super) fn group(target: &Target) -> Group {
    let mut labels: BTreeMap<_, _> = [
        ("__meta_kuma_mesh", target.id.mesh.as_str()),
        ("__meta_kuma_dataplane", &target.id.name),
        ("__meta_kuma_service", &target.service),
        ("__scheme__", target.scheme),
        ("__metrics_path__", &target.path),
        ("instance", &target.id.name),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for (name, value) in &target.labels {
        labels.insert(format!("__meta_kuma_label_{}", label_name(name)), value.clone());
    }
    Group { targets: [target.address.clone()], labels }
}

/// As Prometheus makes the names of labels legal.
fn label_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}
