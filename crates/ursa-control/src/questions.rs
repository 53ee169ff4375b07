//! Asking agents about their telemetry, over streams that they open ([`ursa_envoy::questions`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;
use ursa_envoy::questions::{About, Answer, MAX_ANSWER, MAX_QUESTIONS, PATH, Question};
use ursa_model::ProxyId;

use crate::metrics::Metrics;
use crate::tokens::{Tokens, bearer};

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Agents that are asked at once.
const ABREAST: usize = 64;

/// The agents that can be asked.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    streams: Mutex<BTreeMap<ProxyId, Stream>>,
    next: AtomicU64,
}

/// One agent's stream.
#[derive(Debug, Clone)]
struct Stream {
    /// Ends it: a newer one of the same proxy took its place.
    replaced: CancellationToken,
    questions: mpsc::Sender<Result<Question, Status>>,
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>,
}

/// A question that waits for its answer, until whoever asked has it or no longer waits.
#[derive(Debug)]
struct Asked<'a> {
    stream: &'a Stream,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.stream.waiting().remove(&self.number);
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("its agent is not connected, or is too old to be asked")]
    Absent,
    #[error("its agent has too many questions already")]
    Busy,
    #[error("its agent did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("its agent said: {0}")]
    Refused(String),
}

impl Questions {
    /// The proxies whose agents can be asked.
    pub(crate) fn proxies(&self) -> Vec<ProxyId> {
        self.lock().keys().cloned().collect()
    }

    /// Asks one agent.
    pub(crate) async fn ask(&self, id: &ProxyId, about: About) -> Result<Value, Unanswered> {
        let stream = self.lock().get(id).cloned().ok_or(Unanswered::Absent)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        stream.waiting().insert(number, answer);
        let asked = Asked { stream: &stream, number };
        let question = Question { id: number, about: Some(about) };
        stream.questions.try_send(Ok(question)).map_err(|_| Unanswered::Busy)?;
        let answered = timeout(PATIENCE, answered).await.map_err(|_| Unanswered::Silent)?;
        drop(asked);
        let Answer { json, error, .. } = answered.map_err(|_| Unanswered::Absent)?;
        if !error.is_empty() {
            return Err(Unanswered::Refused(error));
        }
        serde_json::from_slice(&json).map_err(|error| Unanswered::Refused(error.to_string()))
    }

    /// Asks many agents; their answers in the order of `ids`.
    pub(crate) async fn ask_all(
        &self,
        ids: Vec<ProxyId>,
        about: &About,
    ) -> Vec<(ProxyId, Result<Value, Unanswered>)> {
        self.ask_each(ids.into_iter().map(|id| (id, about.clone())).collect()).await
    }

    /// Asks each agent its own question; their answers in the same order.
    pub(crate) async fn ask_each(
        &self,
        asked: Vec<(ProxyId, About)>,
    ) -> Vec<(ProxyId, Result<Value, Unanswered>)> {
        let asking = asked.into_iter().map(|(id, about)| async {
            let answer = self.ask(&id, about).await;
            (id, answer)
        });
        futures::stream::iter(asking).buffered(ABREAST).collect().await
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ProxyId, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a stream; an older one of the same proxy ends.
    fn enter(&self, id: ProxyId, questions: mpsc::Sender<Result<Question, Status>>) -> Stream {
        let replaced = CancellationToken::new();
        let stream = Stream { replaced, questions, waiting: Arc::default() };
        if let Some(older) = self.lock().insert(id, stream.clone()) {
            older.replaced.cancel();
        }
        stream
    }

    fn leave(&self, id: &ProxyId, stream: &Stream) {
        let mut streams = self.lock();
        if streams.get(id).is_some_and(|known| Arc::ptr_eq(&known.waiting, &stream.waiting)) {
            streams.remove(id);
        }
    }
}

impl Stream {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, answer: Answer) {
        if let Some(waiting) = self.waiting().remove(&answer.id)
            && waiting.send(answer).is_err()
        {
            tracing::debug!("an answer came too late");
        }
    }
}

/// The service for agents.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) questions: Arc<Questions>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Service {
    /// Its one route.
    pub(crate) fn router(self) -> Router {
        Router::new().route(PATH, post(serve)).with_state(self)
    }

    fn open(
        &self,
        request: tonic::Request<Streaming<Answer>>,
    ) -> Result<tonic::Response<ReceiverStream<Result<Question, Status>>>, Status> {
        let token = bearer(request.metadata().as_ref());
        let id = token.and_then(|token| self.tokens.verify_dataplane(token, Timestamp::now()));
        let id = id.map_err(|refused| {
            self.metrics.turned_away(refused.kind());
            Status::unauthenticated(refused.to_string())
        })?;
        let (questions, outgoing) = mpsc::channel(MAX_QUESTIONS);
        let (this, answers) = (self.clone(), request.into_inner());
        let stream = this.questions.enter(id.clone(), questions);
        self.tasks.spawn(async move {
            let listening = listen(&stream, answers);
            if let Some(Err(status)) = this.stop.run_until_cancelled(listening).await {
                tracing::debug!(proxy = %id, error = status.message(), "an agent's answers ended");
            }
            this.questions.leave(&id, &stream);
        });
        Ok(tonic::Response::new(ReceiverStream::new(outgoing)))
    }
}

/// Reads answers until the agent leaves or a newer stream of it takes this one's place.
async fn listen(stream: &Stream, mut answers: Streaming<Answer>) -> Result<(), Status> {
    loop {
        tokio::select! {
            () = stream.questions.closed() => return Ok(()),
            () = stream.replaced.cancelled() => return Ok(()),
            answer = answers.message() => match answer? {
                Some(answer) => stream.answered(answer),
                None => return Ok(()),
            }
        }
    }
}

async fn serve(State(service): State<Service>, request: Request) -> Response {
    let mut grpc =
        Grpc::new(ProstCodec::<Question, Answer>::default()).max_decoding_message_size(MAX_ANSWER);
    let open = service_fn(move |request| std::future::ready(service.open(request)));
    grpc.streaming(open, request.map(tonic::body::Body::new)).await.map(Body::new)
}
