//! What a change would do: `POST /_plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use ursa_envoy::questions::About;
use ursa_model::{ProxyId, ResourceKey};

use super::Api;
use super::problem::Problem;
use super::resource::{Text, sources};
use crate::affected::Difference;
use crate::plan::{self, ProxyPlan, Rates};
use crate::resources::key_of;

/// How long rates may be measured.
const MAX_SECONDS: u8 = 60;
/// Proxies whose rates are measured; more would make agents' answers come too far apart.
const MAX_MEASURED: usize = 1_000;
/// Proxies of which the contents of resources are told.
const MAX_DETAILED: usize = 100;

/// The body of `POST /_plan`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PlanRequest {
    /// What would be applied.
    #[serde(default)]
    documents: Vec<Text>,
    /// What would be deleted.
    #[serde(default)]
    delete: Vec<Named>,
    /// Over how many seconds rates are measured; 0: they are not.
    #[serde(default)]
    rate_seconds: u8,
    /// Of how many proxies a bootstrap is wanted, for `envoy --mode validate`.
    #[serde(default)]
    bootstraps: usize,
}

/// A resource by its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: String,
    #[serde(default)]
    mesh: Option<String>,
    name: String,
}

impl Named {
    fn key(&self, api: &Api) -> Result<ResourceKey, Problem> {
        let kind = api.resources.kinds().by_exact_name(&self.kind);
        let kind = kind.ok_or_else(|| {
            Problem::parameter("delete.kind", format!("there is no kind `{}`", self.kind))
        })?;
        Ok(key_of(kind, self.mesh.as_deref().unwrap_or("default"), &self.name))
    }
}

/// What a change would do. Nothing is changed.
pub(crate) async fn plan(
    State(api): State<Api>,
    body: Result<Json<PlanRequest>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(request) = body?;
    if request.rate_seconds > MAX_SECONDS {
        let reason = format!("must be {MAX_SECONDS} or less");
        return Err(Problem::parameter("rateSeconds", reason));
    }
    let deleted = request.delete.iter().map(|named| named.key(&api));
    let deleted = deleted.collect::<Result<BTreeSet<_>, _>>()?;
    let proposal = api.resources.propose(&sources(&request.documents)?, &deleted).await?;

    let before = api.planner.snapshots();
    let (after, touched) = before.next(&proposal.changes, api.resources.kinds(), before.revision());
    let (mut plans, mut looked_at) = (Vec::new(), 0);
    for (mesh, keys) in &touched {
        let (before, after) = (before.mesh(mesh), after.mesh(mesh));
        let difference = Difference::new(&before, &after, keys);
        for name in plan::proxies(&before, &after) {
            looked_at += 1;
            let id = ProxyId::new(mesh, name);
            let (abilities, site) = (api.planner.proxies.abilities(&id), api.planner.site());
            plans.extend(plan::of_proxy(id, &before, &after, &difference, &abilities, site));
            tokio::task::coop::consume_budget().await;
        }
    }
    let live = Live::of(&api, &plans, request.rate_seconds).await;
    let without_contents = plans.len().saturating_sub(MAX_DETAILED);
    let shown: Vec<_> = plans
        .into_iter()
        .enumerate()
        .map(|(at, plan)| shown(&api, plan, at, &live, request.bootstraps))
        .collect();
    Ok(Json(json!({
        "changes": proposal.applied,
        "lookedAt": looked_at,
        "proxies": shown,
        "withoutContents": without_contents,
    })))
}

fn shown(api: &Api, mut plan: ProxyPlan, at: usize, live: &Live, bootstraps: usize) -> Value {
    if at >= MAX_DETAILED {
        for resource in &mut plan.resources {
            resource.brief();
        }
    }
    let connection = api.planner.proxies.get(&plan.proxy);
    let mut shown = json!(plan);
    shown["connected"] = connection.is_some().into();
    shown["envoyVersion"] =
        json!(connection.as_ref().and_then(|it| it.node.abilities.envoy.as_ref()));
    shown["estimate"] = json!(live.rates.get(&plan.proxy).map(|rates| plan.estimate(rates)));
    shown["series"] = json!(live.series.get(&plan.proxy));
    if at < bootstraps.min(MAX_DETAILED) {
        shown["bootstrap"] = json!(plan.bootstrap(api.planner.site()));
    }
    shown
}

/// What agents say of the planned proxies.
#[derive(Default)]
struct Live {
    rates: BTreeMap<ProxyId, Rates>,
    /// Where other metrics would be gathered.
    series: BTreeMap<ProxyId, Series>,
}

/// How many metric series leave, and would.
#[derive(Serialize)]
struct Series {
    before: u64,
    after: u64,
}

impl Live {
    /// Of those that are connected, over so many seconds; 0: nobody is asked.
    async fn of(api: &Api, plans: &[ProxyPlan], seconds: u8) -> Self {
        let asked = api.questions.proxies();
        let plans = plans.iter().filter(|plan| asked.contains(&plan.proxy)).take(MAX_MEASURED);
        let plans: Vec<_> = plans.collect();
        if seconds == 0 || plans.is_empty() {
            return Self::default();
        }
        let (rates, series) = tokio::join!(rates(api, &plans, seconds), series(api, &plans));
        Self { rates, series }
    }
}

async fn rates(api: &Api, plans: &[&ProxyPlan], seconds: u8) -> BTreeMap<ProxyId, Rates> {
    let ids: Vec<_> = plans.iter().map(|plan| plan.proxy.clone()).collect();
    let about = About::Telemetry(true);
    let started = Instant::now();
    let first = api.questions.ask_all(ids.clone(), &about).await;
    sleep(Duration::from_secs(seconds.into())).await;
    let apart = started.elapsed().as_secs_f64();
    let second = api.questions.ask_all(ids, &about).await;
    let both = first.into_iter().zip(second);
    both.filter_map(|((id, first), (_, second))| {
        Some((id, Rates::between(&first.ok()?, &second.ok()?, apart)?))
    })
    .collect()
}

/// Each agent counts what would leave it: only it knows what there is to select from.
async fn series(api: &Api, plans: &[&ProxyPlan]) -> BTreeMap<ProxyId, Series> {
    let questions = plans.iter().filter_map(|plan| {
        let collection = serde_json::to_vec(&plan.collection()?).ok()?;
        Some((plan.proxy.clone(), About::Series(collection)))
    });
    let questions = questions.collect();
    let answers = api.questions.ask_each(questions).await;
    let told = answers.into_iter().filter_map(|(id, answer)| {
        let answer = answer.ok()?;
        let (before, after) = (answer["now"].as_u64()?, answer["then"].as_u64()?);
        Some((id, Series { before, after }))
    });
    told.collect()
}
