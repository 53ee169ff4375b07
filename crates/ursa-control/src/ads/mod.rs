//! Incremental ADS over TLS: one stream per agent.
//!
//! Followed: Envoy's "xDS REST and gRPC protocol", incremental (delta) variant with aggregated
//! resources; the other variants are refused. An agent says who it is with its token in
//! `authorization`, which must name the proxy that its node's id names.
//!
//! A stream is one task: it tells the [`state`] what arrived and sends what the state answers. An
//! agent that reads slowly holds back its own stream only, and sees the newest configuration next.

mod delivery;
mod node;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use jiff::Timestamp;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};
use ursa_envoy::resources::TYPES;
use ursa_model::ProxyId;

use self::delivery::Delivery;
use self::node::{describe, proxy_id};
use self::state::{Answer, Response, cut};
use crate::metrics::Metrics;
use crate::planner::{Planner, Session};
use crate::proxies::Connection;
use crate::spans::Tracer;
use crate::tokens::{Refused, Tokens, bearer, same_proxy};

/// An agent that opens a stream says who it is within this.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// Responses that wait for the agent to read them. Each type has one under way at most.
const MAX_WAITING: usize = TYPES.len();
/// Bytes of one request: names and versions of all that an agent holds of a type.
pub(crate) const MAX_REQUEST: usize = 4 << 20;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Ads {
    pub(crate) planner: Arc<Planner>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

type Outgoing = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only incremental ADS is spoken: set `api_type: DELTA_GRPC`"))
    }

    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let id = self.identify(request.metadata()).map_err(|refused| self.turn_away(&refused))?;
        let (outgoing, responses) = mpsc::channel(MAX_WAITING);
        let (this, requests) = (self.clone(), request.into_inner());
        self.tasks.spawn(async move {
            let ended = this.stream(id, requests, &outgoing).await;
            if let Err(status) = ended
                && outgoing.try_send(Err(status)).is_err()
            {
                tracing::debug!("the agent left before it could be told why its stream ends");
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(responses)))
    }
}

impl Ads {
    fn identify(&self, metadata: &MetadataMap) -> Result<ProxyId, Refused> {
        self.tokens.verify_dataplane(bearer(metadata.as_ref())?, Timestamp::now())
    }

    fn turn_away(&self, refused: &Refused) -> Status {
        self.metrics.turned_away(refused.kind());
        tracing::warn!(why = %refused, "an agent was refused");
        match refused.kind() {
            "identity" => Status::permission_denied(refused.to_string()),
            _ => Status::unauthenticated(refused.to_string()),
        }
    }

    /// Serves a stream to its end.
    async fn stream(
        &self,
        token: ProxyId,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        outgoing: &Outgoing,
    ) -> Result<(), Status> {
        let first = timeout(INTRODUCTION, requests.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the first request did not come"))??;
        let Some(first) = first else { return Ok(()) };
        let node = first.node.as_ref();
        let id = node.and_then(|node| proxy_id(&node.id)).ok_or_else(|| {
            Status::invalid_argument("the first request must hold a node with the id `MESH.NAME`")
        })?;
        same_proxy(&token, &id).map_err(|refused| self.turn_away(&refused))?;

        let node = node.map(describe).unwrap_or_default();
        let session = self.planner.connect(id, node, Timestamp::now()).await;
        let connection = &session.connection;
        tracing::info!(proxy = %connection.id, envoy = connection.node.abilities.envoy, "agent connected");
        if connection.target().is_none() {
            tracing::warn!(
                proxy = %connection.id,
                "there is no Dataplane of this name: the proxy is told nothing until one is applied"
            );
        }
        let ended = self.converse(&session, first, requests, outgoing).await;
        let why = ended.as_ref().err().map(Status::message);
        tracing::info!(proxy = %connection.id, why, "agent disconnected");
        ended
    }

    async fn converse(
        &self,
        session: &Session,
        first: DeltaDiscoveryRequest,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        outgoing: &Outgoing,
    ) -> Result<(), Status> {
        let connection = &session.connection;
        let mut targets = connection.target.subscribe();
        let mut delivery = Delivery::new(&self.tracer);
        self.received(connection, first, &mut delivery);
        loop {
            let target = targets.borrow_and_update().clone();
            let responses = target.map_or_else(Vec::new, |target| {
                delivery.towards(connection, &target);
                connection.state().advance(&target.resources, Instant::now())
            });
            for response in responses {
                let response = message(response);
                delivery.sent(&response.type_url);
                self.metrics.response_sent(&response.type_url, response.encoded_len());
                // Waits for a slow agent; meanwhile only the newest target is kept.
                let sent = tokio::select! {
                    () = self.stop.cancelled() => return Err(stopping()),
                    () = connection.replaced.cancelled() => return Err(replaced()),
                    sent = outgoing.send(Ok(response)) => sent,
                };
                if sent.is_err() {
                    return Ok(());
                }
            }
            delivery.settle(&connection.state());
            tokio::select! {
                () = self.stop.cancelled() => return Err(stopping()),
                () = connection.replaced.cancelled() => return Err(replaced()),
                () = outgoing.closed() => return Ok(()),
                request = requests.message() => match request? {
                    Some(request) => self.received(connection, request, &mut delivery),
                    None => return Ok(()),
                },
                changed = targets.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn received(
        &self,
        connection: &Connection,
        request: DeltaDiscoveryRequest,
        delivery: &mut Delivery<'_>,
    ) {
        let Some(type_url) = TYPES.iter().copied().find(|known| *known == request.type_url) else {
            tracing::debug!(proxy = %connection.id, type_url = request.type_url, "a type that is not served");
            return;
        };
        let mut state = connection.state();
        if !state.is_subscribed(type_url) {
            self.metrics.subscribed(type_url);
            state.subscribe(type_url, request.initial_resource_versions.into_iter().collect());
            return;
        }
        if !request.response_nonce.is_empty() {
            let error = request.error_detail.as_ref().map(|status| status.message.as_str());
            let now = (Instant::now(), Timestamp::now());
            match state.answer(type_url, &request.response_nonce, error, now) {
                Answer::Acknowledged(after) => {
                    self.metrics.acknowledged(type_url, after);
                    delivery.answered(type_url, true);
                }
                Answer::Refused => {
                    delivery.answered(type_url, false);
                    self.metrics.refused(type_url);
                    tracing::warn!(
                        proxy = %connection.id,
                        type_url,
                        error = error.map(cut),
                        "configuration refused; what was acknowledged before stays"
                    );
                }
                Answer::Stale => {}
            }
        }
        let all = |names: &[String]| names.iter().any(|name| name == "*");
        if all(&request.resource_names_unsubscribe) && !all(&request.resource_names_subscribe) {
            state.unsubscribe(type_url);
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}

fn replaced() -> Status {
    Status::aborted("the same proxy connected again; only the newest connection is served")
}

fn message(response: Response) -> DeltaDiscoveryResponse {
    let resources = response.resources.into_iter().map(|(name, resource)| Resource {
        name,
        version: resource.version,
        resource: Some(resource.body),
        ..Resource::default()
    });
    DeltaDiscoveryResponse {
        type_url: response.type_url.to_owned(),
        nonce: response.nonce,
        resources: resources.collect(),
        removed_resources: response.removed,
        ..DeltaDiscoveryResponse::default()
    }
}

/// Names and versions, for those who only want to know whether two are the same.
pub(crate) fn summary(versions: &BTreeMap<String, String>) -> String {
    use aws_lc_rs::digest::{Context, SHA256};
    let mut context = Context::new(&SHA256);
    for (name, version) in versions {
        for part in [name, version] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
    }
    let digest = context.finish();
    crate::authority::hex(digest.as_ref().get(..6).unwrap_or_default())
}
