//! The proxies that a policy selects, and what of it they cannot do.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use ursa_policies::select::selects_among;

use super::Api;
use super::inspect::target;
use super::page::Page;
use super::problem::Problem;
use super::resource::kind_in_mesh;
use crate::resources::key_of;
use crate::snapshot::Proxy;

/// The proxies that a policy selects, also those that are not connected: for these it is assumed that they can do all.
pub(crate) async fn dataplanes(
    State(api): State<Api>,
    Path((mesh, plural, name)): Path<(String, String, String)>,
    page: Page,
) -> Result<Json<Value>, Problem> {
    let kind = kind_in_mesh(&api, &plural)?;
    let key = key_of(kind, &mesh, &name);
    let snapshots = api.planner.snapshots();
    let snapshot = snapshots.mesh(&mesh);
    let policy = snapshot.policy(&key);
    let policy = policy.ok_or_else(|| Problem::not_found(format!("there is no policy {key}")))?;
    let zone = &api.planner.site().zone;
    let proxies = snapshot.proxies.values();
    let selected: Vec<_> = proxies
        .filter(|proxy| selects_among(policy, &proxy.subject(zone), &snapshot.policies))
        .collect();
    Ok(Json(page.of(&selected, |proxy| {
        let Proxy { id, dataplane, labels } = &***proxy;
        let connection = api.planner.proxies.get(id);
        let target = target(&api, &snapshots, id, connection.as_ref());
        let lacks = target.iter().flat_map(|target| &target.applied.lacks);
        let own = lacks.filter(|lack| lack.asked.contains_key(&key));
        let lacks: Vec<_> = own.map(|lack| json!({"words": lack.words, "why": lack.why})).collect();
        let node = connection.as_ref().map(|connection| &connection.node);
        json!({
            "type": "Dataplane", "mesh": id.mesh, "name": id.name, "labels": labels,
            "service": dataplane.service(labels, &id.name),
            "connected": connection.is_some(),
            "envoyVersion": node.and_then(|node| node.abilities.envoy.as_ref()),
            "lacks": lacks,
            "warnings": target.as_ref().map_or(&[][..], |target| &target.warnings),
        })
    })))
}
