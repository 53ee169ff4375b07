//! Where spans go: a pipeline as beside every proxy, with its queue, retries and credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Record};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ursa_metrics::{Counter, Registry, control};
use ursa_model::percent::Percent;
use ursa_model::tracing_file::TracingFile;
use ursa_pipeline::{Pipeline, PipelineInputs, Received, Signal, Sink};

use super::Tracer;

/// Spans that are given to the pipeline at once.
const BATCH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_millis(200);
/// What receives them, in the ledger.
const SOURCE: &str = "own";

/// Where the control plane's own traces go, and which are made. `Debug` hides the environment.
#[derive(Clone)]
pub struct OwnTraces {
    /// What the tracing file says.
    pub file: TracingFile,
    /// Environment variables, for `${NAME}` and `{{env.NAME}}` in it.
    pub environment: BTreeMap<String, String>,
}

impl fmt::Debug for OwnTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTraces").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Spans on their way. Dropped without [`shutdown`](Self::shutdown), those that wait in memory are lost.
#[derive(Debug)]
pub(crate) struct Sending {
    pipeline: Pipeline,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sending {
    /// A tracer whose spans are sent as `traces` says. `storage` is the folder of queues on disk.
    pub(crate) async fn start(
        traces: OwnTraces,
        resource: BTreeMap<String, String>,
        storage: Option<PathBuf>,
        registry: &Registry,
    ) -> (Tracer, Self) {
        let OwnTraces { file, environment } = traces;
        let detected = BTreeMap::new();
        let registry = registry.clone();
        let results = registry.counter(&control::OWN_SPANS);
        let (recorded, dropped) = (results.with(&["recorded"]), results.with(&["dropped"]));
        let sampling = file.sampling.unwrap_or(Percent::HUNDRED).millionths();
        let (tracer, spans) = Tracer::new(sampling, file.baggage.clone(), &registry);
        let pipeline = Pipeline::start(PipelineInputs { environment, detected, registry, storage });
        pipeline.reconfigure(file.pipeline(resource), &BTreeMap::new()).await;
        for warning in pipeline.status().await.warnings {
            tracing::warn!(warning, "own traces");
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let giving = Giving { sink: pipeline.sink(), source: SOURCE.into(), recorded, dropped };
        tasks.spawn(giving.run(spans, stop.clone()));
        (tracer, Self { pipeline, tasks, stop })
    }

    /// Gives away what was recorded until now and waits for it to be delivered, so long at most.
    pub(crate) async fn shutdown(self, deadline: Duration) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let lost = self.pipeline.shutdown(deadline).await;
        if lost > 0 {
            tracing::warn!(lost, "own spans could not be delivered before the end");
        }
    }
}

/// Gathers spans into requests.
struct Giving {
    sink: Arc<dyn Sink>,
    source: Arc<str>,
    recorded: Counter,
    dropped: Counter,
}

impl Giving {
    async fn run(self, mut spans: mpsc::Receiver<Record>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                received = spans.recv_many(&mut batch, BATCH) => if received == 0 { break },
                () = stop.cancelled() => break,
            }
            // What belongs together mostly ends together.
            if batch.len() < BATCH {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(GATHER) => {}
                }
                while batch.len() < BATCH
                    && let Ok(span) = spans.try_recv()
                {
                    batch.push(span);
                }
            }
            self.give(std::mem::take(&mut batch)).await;
        }
    }

    async fn give(&self, spans: Vec<Record>) {
        let items = spans.len();
        let scope = InstrumentationScope {
            name: "ursa".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
        let request = request.encode_to_vec().into();
        let received = Received::otlp(Signal::Traces, request, items, &self.source);
        match self.sink.accept(received).await {
            Ok(()) => self.recorded.inc_by(items as u64),
            Err(error) => {
                tracing::debug!(%error, items, "own spans are dropped");
                self.dropped.inc_by(items as u64);
            }
        }
    }
}
