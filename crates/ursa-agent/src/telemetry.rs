//! The pipeline beside Envoy: takes its OTLP on a Unix socket, delivers as the control plane says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::RwLock;
use ursa_envoy::resources::{PIPELINE, SECRET};
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::pipeline::{Collection, PipelineConfig, Processor};
use ursa_pipeline::receive::{Bind, BindError, Protocol, Receiver, Settings};
use ursa_pipeline::{Audit, Pipeline, PipelineInputs, PipelineStatus};

use crate::metrics::{Foreseen, Gather, Metrics, MetricsStatus, Observed, Observing};
use crate::relay::{Own, Verdicts};

/// How long a request that has begun may take to end at the end.
const GRACE: Duration = Duration::from_millis(500);

/// Why the pipeline could not be started.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TelemetryError(#[from] BindError);

/// The pipeline with its receiver. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    running: Arc<RwLock<Option<Running>>>,
    observed: Arc<Observed>,
    metrics: Arc<OnceLock<Metrics>>,
    /// What is done to spans before all that policies ask for.
    first: Arc<[Processor]>,
}

#[derive(Debug)]
struct Running {
    receiver: Receiver,
    pipeline: Pipeline,
}

impl Telemetry {
    /// Takes what Envoy sends on `socket`; `detected` is what is known of whose telemetry it is; what
    /// waits is kept in `storage`. `first` is done to spans
    /// before all that policies ask for. Until it is configured, senders are told to wait.
    pub(crate) async fn start(
        socket: &Path,
        environment: BTreeMap<String, String>,
        detected: BTreeMap<String, String>,
        storage: Option<PathBuf>,
        first: Option<Processor>,
        registry: &Registry,
    ) -> Result<Self, TelemetryError> {
        let inputs = PipelineInputs { environment, detected, registry: registry.clone(), storage };
        let pipeline = Pipeline::start(inputs);
        let receiver = Settings::new(Protocol::Envoy, Bind::Unix(socket.to_owned()));
        let observed = Arc::new(Observed::default());
        let sink = Observing { sink: pipeline.sink(), observed: Arc::clone(&observed) };
        let receiver = receiver.start(Arc::new(sink), registry).await?;
        let running = Arc::new(RwLock::new(Some(Running { receiver, pipeline })));
        let first = first.into_iter().collect();
        Ok(Self { running, observed, metrics: Arc::default(), first })
    }

    /// What spans that pass say of latencies.
    pub(crate) fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Gathers metrics from now on, as it is told.
    pub(crate) async fn gather(&self, gather: Gather, environment: &BTreeMap<String, String>) {
        if let Some(Running { pipeline, .. }) = &*self.running.read().await {
            let observed = Arc::clone(&self.observed);
            let metrics = Metrics::new(gather, observed, pipeline.sink(), environment);
            drop(self.metrics.set(metrics));
        }
    }

    /// Does as the agent's own resources say, or says which of them it refuses: then nothing has
    /// changed. Without a pipeline there is nothing to do.
    pub(crate) async fn configure(&self, own: &Own) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let mut secrets = BTreeMap::new();
        for (name, item) in own.of(SECRET) {
            match String::from_utf8(item.body.value.clone()) {
                Ok(text) => {
                    secrets.insert(name.clone(), SecretText::from(text));
                }
                Err(_) => verdicts.refuse(SECRET, name, "the secret is not text (UTF-8)"),
            }
        }
        let mut config: Option<PipelineConfig> = None;
        for (name, item) in own.of(PIPELINE) {
            match serde_json::from_slice(&item.body.value) {
                Ok(said) => config = Some(said),
                Err(error) => {
                    let words = format!("the pipeline cannot be read: {error}");
                    verdicts.refuse(PIPELINE, name, &words);
                }
            }
        }
        if verdicts.is_empty()
            && let Some(mut config) = config
            && let Some(running) = &*self.running.read().await
        {
            let (collection, labels) = (config.collection.clone(), config.span_labels.clone());
            config.traces.processors.splice(..0, self.first.iter().cloned());
            running.pipeline.reconfigure(config, &secrets).await;
            if let Some(metrics) = self.metrics.get() {
                let target = running.pipeline.collected_attributes().await;
                metrics.configure(collection, &labels, target).await;
            }
        }
        verdicts
    }

    /// How it stands, warnings of the metrics that are gathered included; nothing once it is shut down.
    pub(crate) async fn status(&self) -> Option<PipelineStatus> {
        let mut status = match &*self.running.read().await {
            Some(running) => running.pipeline.status().await,
            None => return None,
        };
        status.warnings.extend(self.metrics_status().await.warnings);
        Some(status)
    }

    /// How metrics leave that are gathered here.
    pub(crate) async fn metrics_status(&self) -> MetricsStatus {
        match self.metrics.get() {
            Some(metrics) => metrics.status().await,
            None => MetricsStatus::default(),
        }
    }

    /// How many metric series leave, and would if this were gathered.
    pub(crate) async fn foresee(&self, then: Collection) -> Result<Foreseen, String> {
        match self.metrics.get() {
            Some(metrics) => metrics.foresee(then).await,
            None => Err("no metrics are gathered".to_owned()),
        }
    }

    /// Gathers no more metrics; those that are pushed are pushed once more, while Envoy is there.
    pub(crate) async fn end_metrics(&self) {
        if let Some(metrics) = self.metrics.get() {
            metrics.shutdown().await;
        }
    }

    /// What became of a trace's spans; nothing once it is shut down.
    pub(crate) async fn audit(&self, trace_id: [u8; 16]) -> Option<Audit> {
        self.running.read().await.as_ref().map(|running| running.pipeline.audit(trace_id))
    }

    /// Takes no more, and sends what waits until `deadline` has passed.
    pub(crate) async fn shutdown(&self, deadline: Duration) {
        let Some(Running { receiver, pipeline }) = self.running.write().await.take() else {
            return;
        };
        receiver.shutdown(GRACE).await;
        let lost = pipeline.shutdown(deadline).await;
        if lost > 0 {
            tracing::warn!(lost, "telemetry could not be delivered before the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use envoy_types::pb::envoy::config::core::v3::Node;
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
    use envoy_types::pb::google::protobuf::Any;
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;
    use ursa_pipeline::{BackendState, Received, Signal};

    use super::*;
    use crate::relay::{self, FromControlPlane, Ports};

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_by_name_and_the_rest_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&[]);
        let socket = dir.path().join("s");
        let telemetry =
            Telemetry::start(&socket, BTreeMap::new(), BTreeMap::new(), None, None, &registry)
                .await
                .unwrap();
        let configured = async || telemetry.status().await.unwrap().configured;
        let bad = Own::from([(PIPELINE, "pipeline", &b"{"[..]), (SECRET, "s", &[0xff])]);
        let verdicts = telemetry.configure(&bad).await;
        let words = verdicts.refusal(PIPELINE, "pipeline").unwrap();
        assert!(words.starts_with("the pipeline cannot be read: EOF"), "{words}");
        assert_eq!(verdicts.refusal(SECRET, "s"), Some("the secret is not text (UTF-8)"));
        assert!(!configured().await);

        let good =
            Own::from([(PIPELINE, "pipeline", &b"{\"traces\":{}}"[..]), (SECRET, "s", b"x")]);
        assert_eq!(telemetry.configure(&good).await, Verdicts::default());
        assert!(configured().await);
        telemetry.shutdown(Duration::from_secs(1)).await;
        assert!(telemetry.status().await.is_none());
    }

    #[tokio::test]
    async fn while_a_new_secret_is_refused_the_one_before_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&[]);
        let socket = dir.path().join("s");
        let telemetry =
            Telemetry::start(&socket, BTreeMap::new(), BTreeMap::new(), None, None, &registry)
                .await
                .unwrap();
        let (control_plane, from_control_plane) = mpsc::channel(8);
        let (_envoy, from_envoy) = mpsc::channel(8);
        let ports = Ports {
            node: Node::default(),
            control_plane: from_control_plane,
            envoy: from_envoy,
            telemetry: telemetry.clone(),
            identity: crate::identity::port().0,
            registry,
        };
        let stop = CancellationToken::new();
        let (_handle, work) = relay::run(ports, stop.clone());
        let mut relaying = JoinSet::new();
        relaying.spawn(work);
        let (requests, mut answers) = mpsc::channel(8);
        control_plane.send(FromControlPlane::Opened(requests)).await.unwrap();
        for _ in ursa_envoy::resources::TYPES {
            answers.recv().await.unwrap();
        }
        let mut say = async |type_url: &str, version: &str, resources: &[(&str, &[u8])]| {
            let resource = |(name, value): &(&str, &[u8])| Resource {
                name: (*name).to_owned(),
                version: version.to_owned(),
                resource: Some(Any { type_url: type_url.to_owned(), value: value.to_vec() }),
                ..Resource::default()
            };
            let update = DeltaDiscoveryResponse {
                type_url: type_url.to_owned(),
                resources: resources.iter().map(resource).collect(),
                nonce: "n".to_owned(),
                ..DeltaDiscoveryResponse::default()
            };
            control_plane.send(FromControlPlane::Update(Box::new(update))).await.unwrap();
            answers.recv().await.unwrap().error_detail.map(|status| status.message)
        };
        // Nothing listens there.
        let pipeline = br#"{"traces": {"backends": [{"name": "b", "spec": {"openTelemetry":
            {"endpoint": "127.0.0.1:1", "headers": {"k": "${secret:x} ${secret:y}"}}}}]}}"#;
        assert_eq!(say(SECRET, "1", &[("x", b"good")]).await, None);
        assert_eq!(say(PIPELINE, "1", &[("pipeline", pipeline)]).await, None);
        let refused = say(SECRET, "2", &[("x", &[0xff]), ("y", b"new")]).await;
        assert_eq!(refused.as_deref(), Some("the secret is not text (UTF-8)"));

        let sink = telemetry.running.read().await.as_ref().unwrap().pipeline.sink();
        let span = Bytes::from_static(b"\x0a\x04\x12\x02\x12\x00");
        sink.accept(Received::otlp(Signal::Traces, span, 1, &"test".into())).await.unwrap();
        let tried = async {
            loop {
                match telemetry.status().await.unwrap().backends[0].state {
                    BackendState::Idle => tokio::time::sleep(Duration::from_millis(10)).await,
                    state => return state,
                }
            }
        };
        let state = tokio::time::timeout(Duration::from_secs(10), tried).await.unwrap();
        assert_eq!(state, BackendState::Down, "tried with the one before, and the new other");
        stop.cancel();
        relaying.join_all().await;
        telemetry.shutdown(Duration::ZERO).await;
    }
}
