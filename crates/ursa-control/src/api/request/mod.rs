//! What becomes of one request at a proxy: `POST /meshes/{mesh}/dataplanes/{name}/_request`.
//!
//! By hand: what the proxy's configuration makes of a request that is described. By trace id: what is known of that trace (its agent's audit, the
//! window of recent telemetry), and what the configuration makes of the request that its spans describe.

mod asked;
mod looked;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use ursa_envoy::questions::About;
use ursa_model::ProxyId;

use self::asked::{Asked, cases};
use self::looked::Proxy;
use super::Api;
use super::permitted::Callers;
use super::pipelines::trace_id;
use super::problem::Problem;

/// Lines of headers of one request.
const MAX_HEADERS: usize = 100;

/// Whether a request is, or was, traced, written down and counted, and what decides.
pub(crate) async fn explain(
    State(api): State<Api>,
    Path((mesh, name)): Path<(String, String)>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = body?;
    if asked.lines() > MAX_HEADERS {
        return Err(Problem::parameter("headers", format!("must be {MAX_HEADERS} or fewer")));
    }
    let id = ProxyId::new(mesh, name);
    let snapshots = api.planner.snapshots();
    let mesh = snapshots.mesh(&id.mesh);
    let proxy = Proxy::of(&api, &mesh, &id)
        .ok_or_else(|| Problem::not_found(format!("there is no {}", id.resource_key())))?;
    let Some(trace) = &asked.trace else {
        let mut case = asked.case();
        if let Some(service) = &asked.from {
            let callers = Callers::of_service(&mesh, service);
            if callers.is_empty() {
                let message = format!("no Dataplane of the mesh is of a service `{service}`");
                return Err(Problem::parameter("from", message));
            }
            case.callers = Some(callers);
        }
        let looked = proxy.look(&case);
        if looked.is_empty() {
            let field = if asked.port.is_some() { "port" } else { "outbound" };
            return Err(Problem::parameter(field, proxy.has_no_such_listener()));
        }
        return Ok(Json(json!({"proxy": id, "listeners": looked})));
    };
    let bytes = trace_id(trace).ok_or_else(|| {
        Problem::parameter("trace", "a trace id has 32 hexadecimal digits, or 16 for 64 bits")
    })?;
    let audits = api.questions.ask_all(api.questions.proxies(), &About::Trace(bytes.clone())).await;
    let saw = |audit: &Value| audit["audit"]["spans"].as_array().is_some_and(|it| !it.is_empty());
    let seen_by: Vec<_> = audits
        .iter()
        .filter(|(_, audit)| audit.as_ref().is_ok_and(saw))
        .map(|(id, _)| id)
        .collect();
    let own = audits.iter().find(|(of, _)| *of == id).map(|(_, audit)| match audit {
        Ok(audit) => audit["audit"].clone(),
        Err(error) => json!({ "error": error.to_string() }),
    });
    let traced = own.as_ref().is_some_and(|audit| saw(&json!({ "audit": audit })));
    let looked: Vec<_> =
        cases(&api, &bytes, &id).iter().flat_map(|case| proxy.look(case)).collect();
    Ok(Json(json!({
        "proxy": id, "trace": trace, "traced": traced, "seenBy": seen_by, "audit": own,
        "listeners": looked,
    })))
}
