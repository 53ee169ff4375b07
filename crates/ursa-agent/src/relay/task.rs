//! The task that runs the [`Relay`] between the control plane, Envoy and the pipeline.

use std::future::pending;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use ursa_metrics::{Counter, Family, Registry, agent};

use super::{Action, Relay, TypeStatus};
use crate::identity;
use crate::telemetry::Telemetry;

/// Messages from either side that may wait for the relay.
pub(crate) const EVENTS: usize = 16;
/// Messages to either side that may wait to be written. More means that the other side does not
/// read, and its stream is closed.
pub(crate) const WRITES: usize = 512;

/// What comes from the control plane. That its stream has ended is seen from the closed channel.
pub(crate) enum FromControlPlane {
    /// A stream is open: requests go there.
    Opened(mpsc::Sender<DeltaDiscoveryRequest>),
    /// A response came.
    Update(Box<DeltaDiscoveryResponse>),
}

/// What comes from Envoy, each with the number of its stream. Only the newest stream counts.
#[derive(Debug)]
pub(crate) enum FromEnvoy {
    /// A stream is open: responses go there.
    Opened(AdsStream),
    /// A request came.
    Request(u64, Box<DeltaDiscoveryRequest>),
    /// The stream is over.
    Closed(u64),
}

/// The way back to Envoy.
#[derive(Debug)]
pub(crate) struct AdsStream {
    pub(crate) number: u64,
    pub(crate) responses: mpsc::Sender<Result<DeltaDiscoveryResponse, tonic::Status>>,
}

/// The relay's state, for people.
#[derive(Debug, Default)]
pub(crate) struct RelayStatus {
    /// Whether Envoy has its stream open.
    pub(crate) envoy_connected: bool,
    /// State of each resource type.
    pub(crate) types: std::collections::BTreeMap<&'static str, TypeStatus>,
}

/// How others ask the relay.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    questions: mpsc::Sender<oneshot::Sender<RelayStatus>>,
    configured: watch::Receiver<bool>,
}

impl Handle {
    /// The state now; empty when the relay has stopped.
    pub(crate) async fn status(&self) -> RelayStatus {
        let (ask, answer) = oneshot::channel();
        if self.questions.send(ask).await.is_err() {
            return RelayStatus::default();
        }
        answer.await.unwrap_or_default()
    }

    /// Whether the control plane has given a configuration.
    pub(crate) fn is_configured(&self) -> bool {
        *self.configured.borrow()
    }
}

/// What the task is connected to.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Who this is, told to the control plane.
    pub(crate) node: Node,
    pub(crate) control_plane: mpsc::Receiver<FromControlPlane>,
    pub(crate) envoy: mpsc::Receiver<FromEnvoy>,
    pub(crate) telemetry: Telemetry,
    pub(crate) identity: identity::Port,
    pub(crate) registry: Registry,
}

/// Makes the relay: how to ask it, and the future that is its work until `stop`.
pub(crate) fn run(
    ports: Ports,
    stop: CancellationToken,
) -> (Handle, impl Future<Output = ()> + Send + 'static) {
    let (ask, questions) = mpsc::channel(EVENTS);
    let (configure, configured) = watch::channel(false);
    let confirmations = ports.registry.counter(&agent::CONFIGURATIONS);
    let task = Task { relay: Relay::default(), upstream: None, stream: None, confirmations };
    let work = task.work(ports, questions, configure, stop);
    (Handle { questions: ask, configured }, work)
}

struct Task {
    relay: Relay,
    upstream: Option<mpsc::Sender<DeltaDiscoveryRequest>>,
    stream: Option<AdsStream>,
    confirmations: Family<Counter>,
}

impl Task {
    async fn work(
        mut self,
        mut ports: Ports,
        mut questions: mpsc::Receiver<oneshot::Sender<RelayStatus>>,
        configured: watch::Sender<bool>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = closed(self.upstream.as_ref()) => {
                    self.upstream = None;
                    self.relay.upstream_closed();
                }
                Some(event) = ports.control_plane.recv(), if self.relay.has_room() => {
                    self.heard_control_plane(event, &ports.node);
                }
                Some(event) = ports.envoy.recv() => self.heard_envoy(event),
                Some(secrets) = ports.identity.secrets.recv() => self.relay.secrets(secrets),
                Some(question) = questions.recv() => {
                    // Whoever asked may have gone.
                    drop(question.send(self.status()));
                }
            }
            self.act(&ports.telemetry, &ports.identity).await;
            let now = self.relay.is_secured();
            ports.identity.taken.send_if_modified(|was| std::mem::replace(was, now) != now);
            let now = self.relay.is_configured();
            configured.send_if_modified(|was| std::mem::replace(was, now) != now);
        }
    }

    fn heard_control_plane(&mut self, event: FromControlPlane, node: &Node) {
        match event {
            FromControlPlane::Opened(requests) => {
                let mut first = self.relay.upstream_opened();
                if let Some(request) = first.first_mut() {
                    request.node = Some(node.clone());
                }
                self.upstream = Some(requests);
                for request in first {
                    self.send_upstream(request);
                }
            }
            FromControlPlane::Update(update) => {
                tracing::debug!(
                    type_url = update.type_url,
                    resources = update.resources.len(),
                    removed = update.removed_resources.len(),
                    "update from the control plane"
                );
                self.relay.update(*update);
            }
        }
    }

    fn heard_envoy(&mut self, event: FromEnvoy) {
        let current = self.stream.as_ref().map(|stream| stream.number);
        match event {
            FromEnvoy::Opened(stream) => {
                self.stream = Some(stream);
                self.relay.envoy_opened();
            }
            FromEnvoy::Request(number, request) if current == Some(number) => {
                if let Some(status) = &request.error_detail {
                    let (type_url, reason) = (&request.type_url, &status.message);
                    tracing::warn!(type_url, reason, "Envoy refused a part of its configuration");
                }
                self.relay.request(*request);
            }
            FromEnvoy::Closed(number) if current == Some(number) => {
                self.stream = None;
                self.relay.envoy_closed();
            }
            FromEnvoy::Request(..) | FromEnvoy::Closed(_) => {}
        }
    }

    /// Does what the relay wants done, which may make it want more.
    async fn act(&mut self, telemetry: &Telemetry, identity: &identity::Port) {
        loop {
            let actions = self.relay.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Answer(request) => self.send_upstream(*request),
                    Action::Respond(response) => self.send_envoy(response),
                    Action::Configure => {
                        let own = self.relay.own();
                        let mut verdicts = telemetry.configure(&own).await;
                        identity.configure(&own, &mut verdicts);
                        for (type_url, name, reason) in verdicts.refused() {
                            tracing::warn!(type_url, name, reason, "refused a resource");
                        }
                        self.relay.configured(&verdicts);
                        if !verdicts.is_empty() {
                            // Instead of what was refused, what was there before.
                            telemetry.configure(&self.relay.own()).await;
                        }
                    }
                }
            }
        }
    }

    fn send_upstream(&mut self, request: DeltaDiscoveryRequest) {
        if !request.response_nonce.is_empty() {
            let confirmation = if request.error_detail.is_none() { "ACK" } else { "NACK" };
            self.confirmations.with(&[&request.type_url, confirmation]).inc();
        }
        if self.upstream.as_ref().is_some_and(|requests| requests.try_send(request).is_err()) {
            // Dropping the channel ends the stream; the control plane is connected to anew.
            self.upstream = None;
            self.relay.upstream_closed();
        }
    }

    fn send_envoy(&mut self, response: DeltaDiscoveryResponse) {
        let stream = self.stream.as_ref();
        if stream.is_some_and(|stream| stream.responses.try_send(Ok(response)).is_err()) {
            self.stream = None;
            self.relay.envoy_closed();
        }
    }

    fn status(&self) -> RelayStatus {
        RelayStatus { envoy_connected: self.stream.is_some(), types: self.relay.status() }
    }
}

/// Waits for the end of the stream to the control plane, if there is one.
async fn closed(requests: Option<&mpsc::Sender<DeltaDiscoveryRequest>>) {
    match requests {
        Some(requests) => requests.closed().await,
        None => pending().await,
    }
}
