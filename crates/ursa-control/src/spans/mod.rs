//! The control plane's own traces: what a request or a change of resources led to, up to the last acknowledgement.
//!
//! ```text
//! PUT /meshes/{mesh}/{plural}/{name}        the server's span, a child of the caller's
//! ├── store get, store write
//! └── plan                                  the change taken in
//!     └── generate …                        one per proxy that it touches
//!         └── deliver                       until the agent acknowledged the last of it
//! ```
//!
//! A [`Tracer`] that is off costs a look at a pointer. Spans leave by a pipeline of their own ([`Sending`]); when there are
//! more than it takes, they are dropped and counted, and nobody waits. Attributes are names, numbers and results: never
//! a body, a header, a query or a setting.
//!
//! Not here: logs and metrics.

mod incoming;
mod sending;
mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry_proto::tonic::trace::v1::Span as Record;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::sync::mpsc;
use ursa_metrics::{Counter, Registry, control};
use ursa_model::ResourceKey;

pub use self::sending::OwnTraces;
pub(crate) use self::sending::Sending;
pub(crate) use self::span::{Context, Span};

/// Spans that wait to be given to the pipeline.
const MAX_WAITING: usize = 16_384;
/// Changes of resources whose cause is remembered until they are taken in.
const MAX_CAUSES: usize = 4096;
/// Routes that are asked again and again and tell nothing.
const QUIET: [&str; 3] = ["/healthy", "/ready", "/metrics"];

tokio::task_local! {
    /// What the running task works for.
    static CURRENT: Context;
}

/// Makes spans. Clones are the same; the default is off.
#[derive(Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Inner>>);

/// What makes them, where it is on.
struct Inner {
    /// Of a million random numbers how many begin a trace that is recorded.
    sampling: u32,
    /// Members of baggage that become attributes.
    baggage: Vec<String>,
    finished: mpsc::Sender<Record>,
    dropped: Counter,
    causes: Mutex<BTreeMap<ResourceKey, Context>>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracer").field(&self.0.is_some()).finish()
    }
}

impl Tracer {
    /// A tracer, and where its spans come out.
    fn new(
        sampling: u32,
        baggage: Vec<String>,
        registry: &Registry,
    ) -> (Self, mpsc::Receiver<Record>) {
        let (finished, spans) = mpsc::channel(MAX_WAITING);
        let dropped = registry.counter(&control::OWN_SPANS).with(&["dropped"]);
        let causes = Mutex::default();
        (Self(Some(Arc::new(Inner { sampling, baggage, finished, dropped, causes }))), spans)
    }

    /// A span of what nobody asked for.
    pub(crate) fn root(&self, name: &'static str) -> Span {
        self.0.as_ref().map_or_else(Span::off, |inner| {
            Span::begin(inner, name.into(), SpanKind::Internal, Context::invent(inner.sampling))
        })
    }

    /// A span of what `parent` led to; none without one.
    pub(crate) fn child(
        &self,
        name: &'static str,
        kind: SpanKind,
        parent: Option<&Context>,
    ) -> Span {
        match (&self.0, parent) {
            (Some(inner), Some(parent)) => Span::begin(inner, name.into(), kind, parent.clone()),
            _ => Span::off(),
        }
    }

    /// A span of what the running task works for; none if nobody asked for it.
    pub(crate) fn here(&self, name: &'static str) -> Span {
        if self.0.is_none() {
            return Span::off();
        }
        let current = CURRENT.try_with(Clone::clone).ok();
        self.child(name, SpanKind::Client, current.as_ref())
    }

    /// Remembers what the running task works for as the cause of changes that it is about to write.
    pub(crate) fn causes<'a>(&self, keys: impl Iterator<Item = &'a ResourceKey>) {
        let Some(inner) = &self.0 else { return };
        let current = CURRENT.try_with(Clone::clone).ok();
        let mut causes = inner.causes.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            match &current {
                Some(cause) if causes.len() < MAX_CAUSES => {
                    causes.insert(key.clone(), cause.clone());
                }
                _ => drop(causes.remove(key)),
            }
        }
    }

    /// A span of taking in changes: a child of their cause, with links to the others if there are several.
    pub(crate) fn caused_by<'a>(
        &self,
        name: &'static str,
        keys: impl Iterator<Item = &'a ResourceKey>,
    ) -> Span {
        let Some(inner) = &self.0 else { return Span::off() };
        let mut found: Vec<Context> = Vec::new();
        {
            let mut causes = inner.causes.lock().unwrap_or_else(PoisonError::into_inner);
            for key in keys {
                if let Some(cause) = causes.remove(key)
                    && !found.iter().any(|known| known.is(&cause))
                {
                    found.push(cause);
                }
            }
        }
        found.sort_by_key(|cause| !cause.is_sampled());
        let Some(first) = found.first() else { return self.root(name) };
        let mut span = self.child(name, SpanKind::Internal, Some(first));
        found.iter().skip(1).for_each(|other| span.link(other));
        span
    }
}

/// Makes the span of a request, in which its handler works.
pub(crate) async fn serve(State(tracer): State<Tracer>, request: Request, next: Next) -> Response {
    let Some(inner) = &tracer.0 else { return next.run(request).await };
    let route = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned());
    let Some(route) = route.filter(|it| !QUIET.contains(&it.as_str()) && !it.starts_with("/gui"))
    else {
        return next.run(request).await;
    };
    let parent = incoming::read(request.headers(), &inner.baggage);
    let parent = parent.unwrap_or_else(|| Context::invent(inner.sampling));
    let method = request.method().as_str().to_owned();
    let mut span = Span::begin(inner, format!("{method} {route}").into(), SpanKind::Server, parent);
    span.set("http.request.method", method);
    span.set("http.route", route);
    let answer = next.run(request);
    let response = match span.context() {
        Some(context) => CURRENT.scope(context, answer).await,
        None => answer.await,
    };
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set("error.type", status.as_str().to_owned());
        span.fail("");
    }
    response
}
