//! Pipelines against a backend that answers as it is told, on a paused clock and without sockets.

mod delivery;
mod disk;
mod faults;
mod forms;
mod isolation;
mod server;
mod sockets;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;
use tokio::time::{Instant, sleep};
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::pipeline::PipelineConfig;

use crate::status::{BackendStatus, PipelineStatus};
use crate::{Pipeline, PipelineInputs, Received, Refusal, Signal};
use server::Server;

/// A pipeline and the backends that it can reach.
struct Rig {
    pipeline: Pipeline,
    server: Arc<Server>,
    registry: Registry,
}

impl Rig {
    fn new() -> Self {
        Self::stored(None)
    }

    /// With queues on disk.
    fn stored(storage: Option<&Path>) -> Self {
        let registry = Registry::new(&[]);
        let environment = BTreeMap::from([("TOKEN".to_owned(), "t0ps3cret".to_owned())]);
        let inputs = PipelineInputs {
            environment,
            detected: BTreeMap::new(),
            registry: registry.clone(),
            storage: storage.map(Path::to_owned),
        };
        let server = Arc::new(Server::default());
        let dial = Arc::clone(&server);
        Self { pipeline: Pipeline::start_with(inputs, Arc::new(dial)), server, registry }
    }

    /// With these backends: name and spec.
    async fn with(backends: &[(&str, serde_json::Value)]) -> Self {
        let rig = Self::new();
        rig.configure(backends).await;
        rig
    }

    async fn configure(&self, backends: &[(&str, serde_json::Value)]) {
        self.configure_with(backends, &[]).await;
    }

    async fn configure_with(
        &self,
        backends: &[(&str, serde_json::Value)],
        secrets: &[(&str, &str)],
    ) {
        self.configure_signal(Signal::Traces, backends, secrets).await;
    }

    async fn configure_signal(
        &self,
        signal: Signal,
        backends: &[(&str, serde_json::Value)],
        secrets: &[(&str, &str)],
    ) {
        let backends: Vec<_> = backends
            .iter()
            .map(|(name, spec)| json!({"name": name, "spec": {"openTelemetry": spec}}))
            .collect();
        // What is told to be of another signal is spans, too, and no processor looks inside.
        let blind = json!({"redactUrls": {"query": "keep", "credentials": false}});
        let processors = if signal == Signal::Traces { vec![] } else { vec![blind] };
        let config = json!({signal.name(): {"backends": backends, "processors": processors}});
        let config: PipelineConfig = serde_json::from_value(config).unwrap();
        let secret = |(name, text): &(&str, &str)| ((*name).to_owned(), SecretText::new(*text));
        self.pipeline.reconfigure(config, &secrets.iter().map(secret).collect()).await;
    }

    /// Gives the pipeline one span of that name.
    async fn push(&self, name: &str) -> Result<(), Refusal> {
        self.push_signal(Signal::Traces, name).await
    }

    async fn push_signal(&self, signal: Signal, name: &str) -> Result<(), Refusal> {
        self.pipeline.sink().accept(Received { signal, ..received(span(name), 1) }).await
    }

    async fn status(&self, name: &str) -> BackendStatus {
        let status = self.pipeline.status().await;
        status.backends.into_iter().find(|backend| backend.name == name).unwrap()
    }

    /// Waits, on the paused clock, until the status is as wanted.
    async fn wait(&self, what: &str, wanted: impl Fn(&PipelineStatus) -> bool) {
        let deadline = Instant::now() + Duration::from_hours(2);
        loop {
            let status = self.pipeline.status().await;
            if wanted(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {status:#?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing waits, then checks that every item is accounted for.
    async fn settle(&self) {
        let empty = |status: &PipelineStatus| {
            status.backends.iter().all(|backend| backend.waiting_items == 0)
        };
        self.wait("nothing waits", empty).await;
        self.balance().await;
    }

    /// Enqueued = sent + dropped + waiting, in the status and in the metrics; and the ledger balances.
    async fn balance(&self) {
        for backend in self.pipeline.status().await.backends {
            assert_eq!(backend.ledger.difference, 0, "{backend:#?}");
            assert!(backend.sources.values().all(|ledger| ledger.difference == 0), "{backend:#?}");
            assert_eq!(self.metric("unaccounted_items", &backend.name), 0);
            let name = &backend.name;
            let dropped: u64 = backend.dropped_items.values().sum();
            let waiting = backend.waiting_items as u64;
            assert_eq!(
                backend.enqueued_items,
                backend.sent_items + dropped + waiting,
                "{backend:#?}"
            );
            let recovered = backend.ledger.recovered;
            for (metric, expected) in [
                ("recovered_items_total", recovered),
                ("enqueued_items_total", backend.enqueued_items - recovered),
                ("sent_items_total", backend.sent_items),
                ("dropped_items_total", dropped),
                ("queue_items", waiting),
            ] {
                assert_eq!(self.metric(metric, name), expected, "{metric} of {name}");
            }
        }
    }

    /// The sum of a metric's series of one backend.
    fn metric(&self, metric: &str, backend: &str) -> u64 {
        let text = self.registry.encode();
        let name = format!("ursa_pipeline_{metric}{{");
        let label = format!("backend=\"{backend}\"");
        let lines = text.lines().filter(|line| line.starts_with(&name) && line.contains(&label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// Spans as a receiver took them.
fn received(request: Bytes, items: usize) -> Received {
    Received::otlp(Signal::Traces, request, items, &"test".into())
}

/// A request with one span.
fn span(name: &str) -> Bytes {
    let spans = vec![Span { name: name.to_owned(), ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}
