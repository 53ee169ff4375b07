//! As much of an agent as Envoy needs: ADS from a value that a test changes, and an OTLP receiver
//! whose spans it reads. Both on Unix sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use futures::stream::{self, BoxStream};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use ursa_envoy::resources::{CDS, EDS, LDS, RDS, Resources};

/// What Envoy said to a response: the type, and its words if it refused.
pub(crate) type Answer = (String, Option<String>);

pub(crate) struct Agent {
    pub(crate) resources: watch::Sender<Resources>,
    pub(crate) answers: mpsc::Receiver<Answer>,
    pub(crate) exports: mpsc::Receiver<(Instant, ExportTraceServiceRequest)>,
    _servers: JoinSet<()>,
}

impl Agent {
    /// Serves `resources` on `ads.sock` and takes spans on `otlp.sock`, both in `folder`.
    pub(crate) fn start(folder: &Path, resources: Resources) -> Self {
        let (resources, seen) = watch::channel(resources);
        let (answered, answers) = mpsc::channel(1_024);
        let (exported, exports) = mpsc::channel(1_024);
        let mut servers = JoinSet::new();
        let socket =
            |name: &str| UnixListenerStream::new(UnixListener::bind(folder.join(name)).unwrap());
        let ads = AggregatedDiscoveryServiceServer::new(Ads { resources: seen, answered });
        let ads = Server::builder().add_service(ads).serve_with_incoming(socket("ads.sock"));
        let otlp = TraceServiceServer::new(Otlp { exported });
        let otlp = Server::builder().add_service(otlp).serve_with_incoming(socket("otlp.sock"));
        servers.spawn(async { ads.await.unwrap() });
        servers.spawn(async { otlp.await.unwrap() });
        Self { resources, answers, exports, _servers: servers }
    }
}

struct Otlp {
    exported: mpsc::Sender<(Instant, ExportTraceServiceRequest)>,
}

#[tonic::async_trait]
impl TraceService for Otlp {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let export = (Instant::now(), request.into_inner());
        self.exported.send(export).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

struct Ads {
    resources: watch::Receiver<Resources>,
    answered: mpsc::Sender<Answer>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream =
        BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("incremental only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let stream = Stream {
            requests: request.into_inner(),
            resources: self.resources.clone(),
            answered: self.answered.clone(),
            wanted: BTreeSet::new(),
            sent: BTreeMap::new(),
        };
        let responses = stream::unfold(stream, |mut stream| async {
            let response = stream.next().await?;
            Some((Ok(response), stream))
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

struct Stream {
    requests: Streaming<DeltaDiscoveryRequest>,
    resources: watch::Receiver<Resources>,
    answered: mpsc::Sender<Answer>,
    wanted: BTreeSet<String>,
    /// (type, name) → version.
    sent: BTreeMap<(&'static str, String), String>,
}

impl Stream {
    /// What to send next; `None` when Envoy is gone.
    async fn next(&mut self) -> Option<DeltaDiscoveryResponse> {
        loop {
            if let Some(response) = self.difference() {
                return Some(response);
            }
            tokio::select! {
                changed = self.resources.changed() => changed.ok()?,
                request = self.requests.message() => {
                    let request = request.ok()??;
                    if !request.response_nonce.is_empty() {
                        let words = request.error_detail.map(|status| status.message);
                        self.answered.send((request.type_url.clone(), words)).await.ok()?;
                    }
                    self.wanted.insert(request.type_url);
                }
            }
        }
    }

    fn difference(&mut self) -> Option<DeltaDiscoveryResponse> {
        let resources = self.resources.borrow();
        for kind in [CDS, EDS, LDS, RDS].into_iter().filter(|kind| self.wanted.contains(*kind)) {
            let changed: Vec<Resource> = resources
                .get(kind)
                .into_iter()
                .flatten()
                .filter(|(name, resource)| {
                    let sent = self.sent.insert((kind, (*name).clone()), resource.version.clone());
                    sent.as_ref() != Some(&resource.version)
                })
                .map(|(name, resource)| Resource {
                    name: name.clone(),
                    version: resource.version.clone(),
                    resource: Some(resource.body.clone()),
                    ..Resource::default()
                })
                .collect();
            if !changed.is_empty() {
                return Some(DeltaDiscoveryResponse {
                    type_url: kind.to_owned(),
                    resources: changed,
                    nonce: self.sent.len().to_string(),
                    ..DeltaDiscoveryResponse::default()
                });
            }
        }
        None
    }
}
