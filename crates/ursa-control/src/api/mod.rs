//! The REST API: Kuma's paths and JSON, and what `ursa` adds.
//!
//! Handlers read and write through [`Resources`], and look at proxies through [`Planner`]; errors
//! become [`problem`]s in one place.

mod access;
mod index;
mod inspect;
mod observe;
mod page;
mod permitted;
mod pipelines;
mod plan;
mod problem;
mod request;
mod resource;
mod selected;
mod token;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use axum::{Router, middleware};

pub(crate) use self::access::{Access, admit};
pub(crate) use self::index::About;
pub(crate) use self::problem::Problem;
use crate::identity::Holders;
use crate::metrics::Metrics;
use crate::monitoring::http_sd;
use crate::planner::Planner;
use crate::questions::Questions;
use crate::resources::Resources;
use crate::spans::{self, Tracer};
use crate::telemetry::Window;
use crate::tokens::Tokens;

/// Bytes of a request's body.
const MAX_BODY: usize = 8 << 20;

/// What handlers work with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) resources: Arc<Resources>,
    pub(crate) planner: Arc<Planner>,
    pub(crate) holders: Arc<Holders>,
    pub(crate) questions: Arc<Questions>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) about: Arc<About>,
    pub(crate) window: Arc<Window>,
}

/// All routes: these and `others`, which keep their own state. The same rules of access hold for
/// all.
pub(crate) fn router(api: Api, access: Access, others: Router) -> Router {
    let (metrics, tracer) = (api.metrics.clone(), api.tracer.clone());
    Router::new()
        .route("/", get(index::index))
        .route("/healthy", get(|| async { "healthy\n" }))
        .route("/ready", get(index::ready))
        .route("/metrics", get(observe::metrics))
        .route("/global-insight", get(inspect::global))
        .route("/_apply", post(resource::apply))
        .route("/_plan", post(plan::plan))
        .route("/tokens/dataplane", post(token::dataplane))
        .route("/tokens/user/admin", post(token::admin))
        .route("/dataplanes+insights", get(inspect::overviews_of_all))
        .route("/dataplanes/_overview", get(inspect::overviews_of_all))
        .route("/meshes/{mesh}/dataplanes/_overview", get(inspect::overviews))
        .route("/meshes/{mesh}/dataplanes+insights", get(inspect::overviews))
        .route("/meshes/{mesh}/dataplanes+insights/{name}", get(inspect::overview))
        .route("/meshes/{mesh}/dataplanes/{name}/_overview", get(inspect::overview))
        .route("/meshes/{mesh}/dataplanes/{name}/_policies", get(inspect::policies))
        .route("/meshes/{mesh}/dataplanes/{name}/_rules", get(inspect::policies))
        .route("/meshes/{mesh}/dataplanes/{name}/_explain", get(inspect::explain))
        .route("/meshes/{mesh}/dataplanes/{name}/_config", get(inspect::config))
        .route("/meshes/{mesh}/dataplanes/{name}/_request", post(request::explain))
        .route("/meshes/{mesh}/dataplane-insights", get(inspect::insights))
        .route("/meshes/{mesh}/dataplane-insights/{name}", get(inspect::insight))
        .route("/v1/discovery/prometheus", get(http_sd::prometheus))
        .route("/telemetry/pipelines", get(pipelines::status))
        .route("/telemetry/audit/{trace}", get(pipelines::audit))
        .route("/{plural}", get(resource::list_all))
        .route(
            "/meshes/{mesh}",
            get(resource::get_mesh).put(resource::put_mesh).delete(resource::delete_mesh),
        )
        .route("/meshes/{mesh}/{plural}", get(resource::list))
        .route(
            "/meshes/{mesh}/{plural}/{name}",
            get(resource::get).put(resource::put).delete(resource::delete),
        )
        .route("/meshes/{mesh}/{plural}/{name}/_resources/dataplanes", get(selected::dataplanes))
        .with_state(api)
        .merge(others)
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // Within, so that strangers make no spans.
        .layer(middleware::from_fn_with_state(tracer, spans::serve))
        .layer(middleware::from_fn_with_state(access, access::admit))
        .layer(middleware::from_fn_with_state(metrics, observe::measure))
}

async fn nowhere(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn not_so(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not answer to {method}", uri.path());
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
}
