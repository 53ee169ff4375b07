//! The pipeline beside Envoy: takes its OTLP on a Unix socket, delivers as the control plane says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use ursa_envoy::resources::{PIPELINE, SECRET};
use ursa_metrics::Registry;
use ursa_model::SecretText;
use ursa_model::pipeline::PipelineConfig;
use ursa_pipeline::receive::{Bind, BindError, OtlpGrpc, Receiver};
use ursa_pipeline::{Pipeline, PipelineInputs, PipelineStatus};

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
}

#[derive(Debug)]
struct Running {
    receiver: Receiver,
    pipeline: Pipeline,
}

impl Telemetry {
    /// Takes OTLP over gRPC on `socket`. Until it is configured, senders are told to wait.
    pub(crate) async fn start(
        socket: &Path,
        environment: BTreeMap<String, String>,
        registry: &Registry,
    ) -> Result<Self, TelemetryError> {
        let inputs = PipelineInputs { environment, registry: registry.clone() };
        let pipeline = Pipeline::start(inputs);
        let receiver = OtlpGrpc::new(Bind::Unix(socket.to_owned()));
        let receiver = receiver.start(pipeline.sink(), registry).await?;
        let running = Some(Running { receiver, pipeline });
        Ok(Self { running: Arc::new(RwLock::new(running)) })
    }

    /// Does as the agent's own resources say, and says which of them are refused. While a new
    /// pipeline is refused, the one before goes on.
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
        let mut config = PipelineConfig::default();
        for (name, item) in own.of(PIPELINE) {
            match serde_json::from_slice(&item.body.value) {
                Ok(said) => config = said,
                Err(error) => {
                    verdicts.refuse(
                        PIPELINE,
                        name,
                        &format!("the pipeline cannot be read: {error}"),
                    );
                    return verdicts;
                }
            }
        }
        if let Some(running) = &*self.running.read().await {
            running.pipeline.reconfigure(config, &secrets).await;
        }
        verdicts
    }

    /// How it stands; nothing once it is shut down.
    pub(crate) async fn status(&self) -> Option<PipelineStatus> {
        match &*self.running.read().await {
            Some(running) => Some(running.pipeline.status().await),
            None => None,
        }
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
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_read_is_refused_by_name_and_the_rest_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::new(&[]);
        let telemetry =
            Telemetry::start(&dir.path().join("s"), BTreeMap::new(), &registry).await.unwrap();
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
}
