//! Monitoring assignments over gRPC: `kuma.observability.v1.MonitoringAssignmentDiscoveryService`, state of the world. As in Kuma, the incremental
//! method is not there.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{MAX_REQUEST, Monitoring};

/// The method that tells of every change.
pub(crate) const STREAM: &str =
    "/kuma.observability.v1.MonitoringAssignmentDiscoveryService/StreamMonitoringAssignments";
/// The method that tells once.
pub(crate) const FETCH: &str =
    "/kuma.observability.v1.MonitoringAssignmentDiscoveryService/FetchMonitoringAssignments";
/// How often a stream that nothing changes for looks again; it is told of changes at once.
const LOOK: Duration = Duration::from_hours(1);

type Told = Result<DiscoveryResponse, Status>;

pub(super) async fn stream(State(monitoring): State<Monitoring>, request: Request) -> Response {
    let open = service_fn(move |request: tonic::Request<Streaming<DiscoveryRequest>>| {
        let (outgoing, told) = mpsc::channel(1);
        let (monitoring, requests) = (monitoring.clone(), request.into_inner());
        let stop = monitoring.stop.clone();
        let tasks = monitoring.tasks.clone();
        tasks.spawn(async move {
            let told = monitoring.tell(requests, &outgoing);
            if let Some(Err(status)) = stop.run_until_cancelled(told).await {
                tracing::debug!(error = status.message(), "a stream of assignments ended");
            }
        });
        let stream = tonic::Response::new(ReceiverStream::<Told>::new(told));
        std::future::ready(Ok::<_, Status>(stream))
    });
    grpc().streaming(open, request.map(tonic::body::Body::new)).await.map(Body::new)
}

pub(super) async fn fetch(State(monitoring): State<Monitoring>, request: Request) -> Response {
    let answer = service_fn(move |request: tonic::Request<DiscoveryRequest>| {
        let monitoring = monitoring.clone();
        async move {
            let request = request.into_inner();
            let client = request.node.map(|node| node.id).unwrap_or_default();
            // What is known has no version yet, so this does not wait.
            let told = monitoring.newer(&client, "", LOOK).await;
            let told = told.ok_or_else(|| Status::unavailable("the control plane is ending"))?;
            Ok::<_, Status>(tonic::Response::new(told.response()))
        }
    });
    grpc().unary(answer, request.map(tonic::body::Body::new)).await.map(Body::new)
}

fn grpc() -> Grpc<ProstCodec<DiscoveryResponse, DiscoveryRequest>> {
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_REQUEST)
}

impl Monitoring {
    /// Tells a client what it is to watch, and each change once the one before was answered.
    async fn tell(
        &self,
        mut requests: Streaming<DiscoveryRequest>,
        outgoing: &mpsc::Sender<Told>,
    ) -> Result<(), Status> {
        let Some(first) = requests.message().await? else { return Ok(()) };
        let client = first.node.map(|node| node.id).unwrap_or_default();
        // One that comes back says what it has.
        let mut version = first.version_info;
        loop {
            let newer = tokio::select! {
                newer = self.newer(&client, &version, LOOK) => newer,
                request = requests.message() => match request? {
                    Some(_) => continue,
                    None => return Ok(()),
                },
            };
            let Some(assignments) = newer else { continue };
            version.clone_from(&assignments.version);
            if outgoing.send(Ok(assignments.response())).await.is_err() {
                return Ok(());
            }
            // Accepted or refused: what was refused is not sent again, what comes next is.
            while let Some(request) = requests.message().await? {
                if request.response_nonce == version {
                    break;
                }
            }
        }
    }
}
