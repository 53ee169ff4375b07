//! The window over HTTP: `/telemetry/services`, `/telemetry/traces`, `/telemetry/traces/{id}`, `/telemetry/live`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRef, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::query::{InvalidParameter, InvalidParameters, TraceQuery, duration};
use super::services::HISTORY_SECONDS;
use super::view::TraceSummary;
use super::{Overview, TraceId, Window};
use crate::api::Problem;

/// So many may watch `/telemetry/live` at a time; further ones get 503.
pub const MAX_LIVE_STREAMS: usize = 64;
/// How often a live stream tells the news.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// Over which time services are shown when nothing else is asked for.
const DEFAULT_WINDOW: Duration = Duration::from_mins(1);

#[derive(Clone)]
struct Shared {
    window: Arc<Window>,
    live: Arc<Semaphore>,
    closing: CancellationToken,
}

impl FromRef<Shared> for Arc<Window> {
    fn from_ref(shared: &Shared) -> Self {
        Arc::clone(&shared.window)
    }
}

/// The routes under `/telemetry`. Live streams end when `closing` is cancelled.
pub fn routes(window: Arc<Window>, closing: CancellationToken) -> Router {
    let live = Arc::new(Semaphore::new(MAX_LIVE_STREAMS));
    Router::new()
        .route("/telemetry/services", get(services))
        .route("/telemetry/traces", get(traces))
        .route("/telemetry/traces/{id}", get(trace))
        .route("/telemetry/live", get(live_stream))
        .with_state(Shared { window, live, closing })
}

/// The parameters of a URL in their order.
type Parameters = Query<Vec<(String, String)>>;

async fn services(
    State(window): State<Arc<Window>>,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let mut over = DEFAULT_WINDOW;
    let mut invalid = Vec::new();
    for (field, value) in parameters {
        let reason = match (field.as_str(), duration(&value)) {
            ("window", Ok(asked)) if (1..=HISTORY_SECONDS).contains(&asked.as_secs()) => {
                over = asked;
                continue;
            }
            ("window", Ok(_)) => format!("`{value}` is not between 1s and {HISTORY_SECONDS}s"),
            ("window", Err(reason)) => reason,
            _ => "unknown; known is window".to_owned(),
        };
        invalid.push(InvalidParameter { field, reason });
    }
    if invalid.is_empty() {
        Ok(fresh(&window.services(over)))
    } else {
        Err(InvalidParameters(invalid).into())
    }
}

#[derive(Serialize)]
struct Traces {
    traces: Vec<TraceSummary>,
}

async fn traces(
    State(window): State<Arc<Window>>,
    Query(parameters): Parameters,
) -> Result<Response, Problem> {
    let query = TraceQuery::parse(&parameters, Timestamp::now())?;
    Ok(fresh(&Traces { traces: window.traces(&query).await }))
}

async fn trace(
    State(window): State<Arc<Window>>,
    Path(id): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Result<Response, Problem> {
    let invalid = |field: &str, reason: String| {
        InvalidParameters(vec![InvalidParameter { field: field.to_owned(), reason }])
    };
    let id: TraceId =
        id.parse().map_err(|error: super::NotATraceId| invalid("id", error.to_string()))?;
    let found = match parameters.get("format").map(String::as_str) {
        None | Some("json") => window.trace(id).map(|trace| fresh(&trace)),
        Some("otlp") => window.otlp(id).map(|trace| fresh(&trace)),
        Some(other) => {
            return Err(invalid("format", format!("`{other}` is neither `json` nor `otlp`")).into());
        }
    };
    found.ok_or_else(|| {
        let detail = format!("trace {id} is not held; it may have left to make room for newer ones, or was not sampled");
        Problem::new(StatusCode::NOT_FOUND, "No such trace", detail)
    })
}

/// One event of the live stream.
#[derive(Serialize)]
struct News {
    #[serde(flatten)]
    overview: Overview,
    traces: Vec<TraceSummary>,
}

async fn live_stream(
    State(shared): State<Shared>,
    Query(parameters): Parameters,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let query = TraceQuery::parse(&parameters, Timestamp::now())?;
    let permit = Arc::clone(&shared.live).try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_LIVE_STREAMS} are open already; close one, or ask /telemetry/services from time to time");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many live streams", detail)
    })?;
    let mut ticks = interval(LIVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher { window: shared.window, query, ticks, _permit: permit };
    let events =
        stream::unfold(watcher, |mut watcher| async { Some((Ok(watcher.next().await), watcher)) });
    Ok(Sse::new(events.take_until(shared.closing.cancelled_owned()))
        .keep_alive(KeepAlive::default()))
}

struct Watcher {
    window: Arc<Window>,
    query: TraceQuery,
    ticks: Interval,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(&mut self) -> Event {
        self.ticks.tick().await;
        let overview = self.window.services(DEFAULT_WINDOW);
        let news = News { overview, traces: self.window.traces(&self.query).await };
        // Numbers, texts and maps with text keys always become JSON.
        Event::default().json_data(news).unwrap_or_default()
    }
}

/// JSON that is not to be kept.
fn fresh(body: &impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

impl From<InvalidParameters> for Problem {
    fn from(InvalidParameters(invalid): InvalidParameters) -> Self {
        Self::parameters(invalid.into_iter().map(|it| (it.field, it.reason)))
    }
}
