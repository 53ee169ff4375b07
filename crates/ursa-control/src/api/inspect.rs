//! What proxies are told, why, and how far they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ursa_envoy::json::to_json;
use ursa_envoy::questions::About;
use ursa_envoy::resources::{
    CDS, EDS, IDENTITY, LDS, PIPELINE, RDS, Resource, Resources, SECRET, TYPES,
};
use ursa_model::ProxyId;
use ursa_policies::effective::Effective;

use super::Api;
use super::page::Page;
use super::problem::Problem;
use super::resource::existing_mesh;
use crate::ads::summary;
use crate::generate::{self, Consider, Generated};
use crate::insight;
use crate::patch::patch;
use crate::proxies::Connection;
use crate::snapshot::{Proxy, Snapshots};

type Proxied = Path<(String, String)>;

/// How a proxy is looked at.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Look {
    /// As if shadow policies were applied.
    shadow: bool,
    /// What is wanted besides, separated by commas: `diff`.
    include: String,
}

impl Look {
    fn consider(&self) -> Consider {
        if self.shadow { Consider::Shadows } else { Consider::Applied }
    }

    /// Whether the difference to what holds is wanted.
    fn diff(&self) -> Result<bool, Problem> {
        let mut wanted = self.include.split(',').filter(|part| !part.is_empty());
        match wanted.find(|part| *part != "diff") {
            None => Ok(!self.include.is_empty()),
            Some(_) => Err(Problem::parameter("include", "only `diff` can be included")),
        }
    }
}

/// How far a proxy is.
pub(crate) async fn overview(
    State(api): State<Api>,
    Path((mesh, name)): Proxied,
) -> Result<Json<Value>, Problem> {
    let id = ProxyId::new(mesh, name);
    let snapshots = api.planner.snapshots();
    if proxy(&snapshots, &id).is_err() && api.planner.proxies.get(&id).is_none() {
        return Err(no_dataplane(&id));
    }
    let mut overview = overview_of(&api, &snapshots, &id);
    overview["dataplaneInsight"] = insight_of(&api, &snapshots, &id).await;
    if !overview["certificate"].is_null() {
        overview["dataplaneInsight"]["mTLS"] = overview["certificate"].clone();
    }
    Ok(Json(overview))
}

/// How the backends of a proxy do.
pub(crate) async fn insight(
    State(api): State<Api>,
    Path((mesh, name)): Proxied,
) -> Result<Json<Value>, Problem> {
    let id = ProxyId::new(mesh, name);
    let snapshots = api.planner.snapshots();
    proxy(&snapshots, &id)?;
    Ok(Json(insight_of(&api, &snapshots, &id).await))
}

/// How the backends of the proxies of a mesh do.
pub(crate) async fn insights(
    State(api): State<Api>,
    Path(mesh): Path<String>,
    page: Page,
) -> Result<Json<Value>, Problem> {
    existing_mesh(&api, &mesh).await?;
    let snapshots = api.planner.snapshots();
    let ids = proxies(&snapshots, |name| name == mesh);
    let mut list = page.of(&ids, |id| json!(id.name));
    let ids: Vec<_> = names(&list["items"]).map(|name| ProxyId::new(&mesh, name)).collect();
    let asked = ids.iter().map(|id| insight_of(&api, &snapshots, id));
    list["items"] = futures::future::join_all(asked).await.into();
    Ok(Json(list))
}

fn names(items: &Value) -> impl Iterator<Item = &str> {
    items.as_array().into_iter().flatten().filter_map(Value::as_str)
}

async fn insight_of(api: &Api, snapshots: &Snapshots, id: &ProxyId) -> Value {
    let connection = api.planner.proxies.get(id);
    let Some(target) = target(api, snapshots, id, connection.as_ref()) else { return Value::Null };
    let answer = api.questions.ask(id, About::Telemetry(true)).await.ok();
    insight::insight(id, &target, &snapshots.mesh(&id.mesh), answer.as_ref())
}

/// How far the proxies of a mesh are.
pub(crate) async fn overviews(
    State(api): State<Api>,
    Path(mesh): Path<String>,
    page: Page,
) -> Result<Json<Value>, Problem> {
    existing_mesh(&api, &mesh).await?;
    let snapshots = api.planner.snapshots();
    let ids = proxies(&snapshots, |name| name == mesh);
    Ok(Json(page.of(&ids, |id| overview_of(&api, &snapshots, id))))
}

/// How far all proxies are.
pub(crate) async fn overviews_of_all(State(api): State<Api>, page: Page) -> Json<Value> {
    let snapshots = api.planner.snapshots();
    let ids = proxies(&snapshots, |_| true);
    Json(page.of(&ids, |id| overview_of(&api, &snapshots, id)))
}

/// The policies that hold for a proxy, merged.
pub(crate) async fn policies(
    State(api): State<Api>,
    Path((mesh, name)): Proxied,
    Query(look): Query<Look>,
) -> Result<Json<Value>, Problem> {
    let effective = effective(&api, &ProxyId::new(mesh, name), look.consider())?;
    let selecting = effective.iter().filter(|effective| !effective.policies().is_empty());
    let shown = selecting.map(|effective| {
        let keys = |shadow: Option<bool>| -> Vec<_> {
            let policies = effective.policies().iter();
            let wanted = policies.filter(|it| shadow.is_none_or(|shadow| it.is_shadow() == shadow));
            wanted.map(|policy| &policy.key).collect()
        };
        let mut shown =
            json!({"kind": effective.kind(), "policies": keys(None), "conf": effective.conf()});
        if look.shadow {
            shown["shadows"] = json!(keys(Some(true)));
        }
        shown
    });
    Ok(Json(shown.collect()))
}

/// Every value that holds for a proxy, and who set it.
pub(crate) async fn explain(
    State(api): State<Api>,
    Path((mesh, name)): Proxied,
    Query(look): Query<Look>,
) -> Result<Json<Value>, Problem> {
    let id = ProxyId::new(mesh, name);
    let effective = effective(&api, &id, look.consider())?;
    let snapshots = api.planner.snapshots();
    let mesh = snapshots.mesh(&id.mesh);
    let (abilities, site) = (api.planner.proxies.abilities(&id), api.planner.site());
    let applied =
        generate::generate_as(&effective, &mesh, &*proxy(&snapshots, &id)?, &abilities, site)
            .applied;
    Ok(Json(effective.iter().map(|effective| json!(effective.explain().with(&applied))).collect()))
}

/// What a proxy is to hold, what it acknowledged and what it refused. With `shadow=true`, what it would hold; with
/// `include=diff`, also how that differs from what it is to hold.
pub(crate) async fn config(
    State(api): State<Api>,
    Path((mesh, name)): Proxied,
    Query(look): Query<Look>,
) -> Result<Json<Value>, Problem> {
    let id = ProxyId::new(mesh, name);
    let with_diff = look.diff()?;
    let snapshots = api.planner.snapshots();
    let connection = api.planner.proxies.get(&id);
    let target = target(&api, &snapshots, &id, connection.as_ref());
    let target = target.ok_or_else(|| no_dataplane(&id))?;
    let wanted = if look.shadow {
        let (mesh, proxy) = (snapshots.mesh(&id.mesh), proxy(&snapshots, &id)?);
        let (abilities, site) = (api.planner.proxies.abilities(&id), api.planner.site());
        let policies = generate::policies(&mesh, &proxy, site, Consider::Shadows);
        Arc::new(generate::generate_as(&policies, &mesh, &proxy, &abilities, site))
    } else {
        Arc::clone(&target)
    };
    let resources = shown(&wanted.resources);
    let (acknowledged, refused) = match &connection {
        Some(connection) => {
            let state = connection.state();
            (state.acknowledged(), state.refused())
        }
        None => Default::default(),
    };
    let nacks: Vec<_> = refused
        .iter()
        .flat_map(|(type_url, refused)| {
            refused.iter().map(move |(name, refused)| {
                json!({
                    "type": type_url, "name": name, "version": refused.version,
                    "error": refused.error, "at": refused.at.to_string(),
                })
            })
        })
        .collect();
    let mut answer = json!({"resources": resources, "acknowledged": acknowledged, "nacks": nacks});
    if with_diff {
        answer["diff"] = patch(&bodies(&target.resources), &bodies(&wanted.resources)).into();
    }
    Ok(Json(answer))
}

/// Resources with their versions, by type and name; of secrets the versions alone.
fn shown(resources: &Resources) -> Value {
    let of_type = |(type_url, of_type): (&&str, &BTreeMap<String, Resource>)| {
        let shown = of_type.iter().map(|(name, resource)| {
            let mut shown = json!({ "version": resource.version });
            if *type_url != SECRET {
                shown["body"] = to_json(type_url, &resource.body.value);
            }
            (name.clone(), shown)
        });
        ((*type_url).to_owned(), Value::Object(shown.collect()))
    };
    Value::Object(resources.iter().map(of_type).collect())
}

/// The same without versions and secrets.
fn bodies(resources: &Resources) -> Value {
    let of_type = |(type_url, of_type): (&&str, &BTreeMap<String, Resource>)| {
        let shown = of_type.iter();
        let shown = shown.map(|(name, it)| (name.clone(), to_json(type_url, &it.body.value)));
        ((*type_url).to_owned(), Value::Object(shown.collect()))
    };
    let public = resources.iter().filter(|(type_url, _)| **type_url != SECRET);
    Value::Object(public.map(of_type).collect())
}

/// How many there are of what.
pub(crate) async fn global(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let snapshots = api.planner.snapshots();
    let mut resources: BTreeMap<&str, usize> =
        api.resources.kinds().iter().map(|kind| (kind.name, 0)).collect();
    let records = api.resources.list(&ursa_store::Filter::default()).await?.records;
    for record in &records {
        if let Some(count) = resources.get_mut(record.key.kind.as_str()) {
            *count += 1;
        }
    }
    let of_kind = |name: &str| resources.get(name).copied().unwrap_or_default();
    let kinds = api.resources.kinds();
    let policies: usize =
        kinds.iter().filter(|kind| kind.policy).map(|kind| of_kind(kind.name)).sum();
    let online = proxies(&snapshots, |_| true)
        .iter()
        .filter(|id| api.planner.proxies.get(id).is_some())
        .count();
    let unreadable: Vec<_> = snapshots
        .iter()
        .flat_map(|(_, mesh)| mesh.unreadable.iter())
        .map(|(key, why)| json!({"key": key, "why": why}))
        .collect();
    let services: usize = snapshots.iter().map(|(_, mesh)| mesh.services.len()).sum();
    let total = of_kind("Dataplane");
    let by_kind: Map<String, Value> = resources
        .iter()
        .map(|(name, total)| ((*name).to_owned(), json!({ "total": total })))
        .collect();
    Ok(Json(json!({
        "createdAt": jiff::Timestamp::now().to_string(),
        "meshes": {"total": of_kind("Mesh")},
        "dataplanes": {"total": total, "online": online, "offline": total.saturating_sub(online)},
        "policies": {"total": policies},
        "services": {"total": services},
        "resources": by_kind,
        "unreadable": unreadable,
    })))
}

fn no_dataplane(id: &ProxyId) -> Problem {
    Problem::not_found(format!("there is no {}", id.resource_key()))
}

fn proxy(snapshots: &Snapshots, id: &ProxyId) -> Result<Arc<Proxy>, Problem> {
    snapshots.mesh(&id.mesh).proxy(&id.name).cloned().ok_or_else(|| no_dataplane(id))
}

fn proxies(snapshots: &Snapshots, in_mesh: impl Fn(&str) -> bool) -> Vec<ProxyId> {
    let meshes = snapshots.iter().filter(|(name, _)| in_mesh(name));
    meshes.flat_map(|(_, mesh)| mesh.proxies.values().map(|proxy| proxy.id.clone())).collect()
}

fn effective(api: &Api, id: &ProxyId, consider: Consider) -> Result<Vec<Effective>, Problem> {
    let snapshots = api.planner.snapshots();
    let proxy = proxy(&snapshots, id)?;
    Ok(generate::policies(&snapshots.mesh(&id.mesh), &proxy, api.planner.site(), consider))
}

/// What a proxy is to hold; made for the occasion where it is not connected.
pub(super) fn target(
    api: &Api,
    snapshots: &Snapshots,
    id: &ProxyId,
    connection: Option<&Arc<Connection>>,
) -> Option<Arc<Generated>> {
    connection.and_then(|connection| connection.target()).or_else(|| {
        let mesh = snapshots.mesh(&id.mesh);
        let proxy = mesh.proxy(&id.name)?;
        let (abilities, site) = (api.planner.proxies.abilities(id), api.planner.site());
        Some(Arc::new(generate::generate(&mesh, proxy, &abilities, site)))
    })
}

fn overview_of(api: &Api, snapshots: &Snapshots, id: &ProxyId) -> Value {
    let connection = api.planner.proxies.get(id);
    let target = target(api, snapshots, id, connection.as_ref());
    let types = match (&connection, &target) {
        (Some(connection), Some(target)) => types_of(connection, target),
        _ => json!({}),
    };
    let mut warnings = target.as_ref().map_or_else(Vec::new, |target| target.warnings.clone());
    if proxy(snapshots, id).is_err() {
        warnings.push(format!("there is no {}; the proxy keeps what it has", id.resource_key()));
    }
    let node = connection.as_ref().map(|connection| &connection.node);
    json!({
        "proxy": id,
        "service": target.as_ref().map(|target| &target.service),
        "connected": connection.is_some(),
        "since": connection.as_ref().map(|connection| connection.since.to_string()),
        "envoyVersion": node.and_then(|node| node.abilities.envoy.as_ref()),
        "module": node.and_then(|node| node.abilities.module.path()),
        "moduleProblem": node.and_then(|node| node.abilities.module.problem()),
        "agentVersion": node.and_then(|node| node.agent.as_ref()),
        "types": types,
        "certificate": api.holders.show(id),
        "metrics": target.as_ref().map_or(&[][..], |target| &target.metrics),
        "traceContext": target.as_ref().and_then(|target| target.applied.context.as_ref()).map(|context| {
            let mut shown = json!(context);
            shown["words"] = context.to_string().into();
            shown
        }),
        "warnings": warnings,
    })
}

/// Of each type a summary of the versions that the proxy is to hold, the same of those that it
/// acknowledged, and what it refuses. Equal summaries: the proxy is where it should be.
fn types_of(connection: &Connection, target: &Generated) -> Value {
    let state = connection.state();
    let (acknowledged, refused) = (state.acknowledged(), state.refused());
    drop(state);
    let types = TYPES.into_iter().map(|type_url| {
        let wanted = target.resources.get(type_url).into_iter().flatten();
        let wanted = wanted.map(|(name, it)| (name.clone(), it.version.clone())).collect();
        let nack = refused.get(type_url).and_then(|refused| {
            let last = refused.values().max_by_key(|refused| refused.at)?;
            let resources: BTreeMap<_, _> =
                refused.iter().map(|(name, refused)| (name, &refused.version)).collect();
            Some(json!({
                "error": last.error, "at": last.at.to_string(), "resources": resources,
            }))
        });
        let shown = json!({
            "sent": summary(&wanted),
            "acked": acknowledged.get(type_url).map(summary),
            "nack": nack,
        });
        (short(type_url).to_owned(), shown)
    });
    Value::Object(types.collect())
}

/// The short name of a type.
fn short(type_url: &str) -> &'static str {
    match type_url {
        CDS => "cds",
        EDS => "eds",
        LDS => "lds",
        RDS => "rds",
        PIPELINE => "pipeline",
        IDENTITY => "identity",
        _ => "secret",
    }
}
