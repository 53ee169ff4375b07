//! Envoy's side of the relay: incremental ADS on a Unix socket.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use futures::Stream;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::relay::{AdsStream, FromEnvoy, WRITES};

/// Most bytes of one request of Envoy's.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// Takes the socket, for this user alone. What an earlier agent left at its path is replaced.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves Envoy until `stop`, then until its streams have ended.
pub(crate) async fn serve(
    listener: UnixListener,
    events: mpsc::Sender<FromEnvoy>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let ads = Ads { events, next: Arc::default(), tasks: tasks.clone(), stop: stop.clone() };
    let service = AggregatedDiscoveryServiceServer::new(ads).max_decoding_message_size(MAX_REQUEST);
    let served = tonic::transport::Server::builder().serve_with_incoming_shutdown(
        service,
        UnixListenerStream::new(listener),
        stop.cancelled_owned(),
    );
    if let Err(error) = served.await {
        tracing::error!(%error, "serving ADS to Envoy ended");
    }
    tasks.close();
    tasks.wait().await;
}

struct Ads {
    events: mpsc::Sender<FromEnvoy>,
    next: Arc<AtomicU64>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("only incremental ADS is served here"))
    }

    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (responses, written) = mpsc::channel(WRITES);
        let opened = FromEnvoy::Opened(AdsStream { number, responses });
        let gone = |_| Status::unavailable("the agent stops");
        self.events.send(opened).await.map_err(gone)?;
        let reading = read(number, request.into_inner(), self.events.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled(reading).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(written))))
    }
}

/// Passes Envoy's requests on until it has no more.
async fn read(
    number: u64,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    events: mpsc::Sender<FromEnvoy>,
) {
    while let Ok(Some(request)) = requests.message().await {
        if events.send(FromEnvoy::Request(number, Box::new(request))).await.is_err() {
            return;
        }
    }
    // Nobody listens only when the agent stops.
    drop(events.send(FromEnvoy::Closed(number)).await);
}
