//! A control plane: incremental ADS over TLS for one proxy, with a token and a log of what happened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use futures::Stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use ursa_envoy::resources::{Resources, TYPES};
use ursa_model::{ProxyId, SecretText};

/// What happened on a stream, with the type's last word: `connected`, `had Cluster 1` (resources
/// that the agent has from before), `sent Cluster a`, `ack Cluster`, `nack Listener words`.
pub(crate) type Log = Vec<String>;

#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    authority: Vec<u8>,
    tls: Arc<ServerConfig>,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    truth: watch::Sender<Resources>,
    log: Mutex<Log>,
    token: Mutex<String>,
}

impl ControlPlane {
    pub(crate) async fn start() -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let chain = vec![leaf.der().clone(), ca.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let shared = Shared {
            truth: watch::channel(Resources::new()).0,
            log: Mutex::default(),
            token: Mutex::default(),
        };
        let authority = digest::digest(&digest::SHA256, ca.der()).as_ref().to_owned();
        let mut this = Self {
            address: "127.0.0.1:0".parse().unwrap(),
            authority,
            tls: Arc::new(tls),
            shared: Arc::new(shared),
            tasks: JoinSet::new(),
        };
        this.come_back().await;
        this
    }

    /// Listens (again, at the same address).
    pub(crate) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (tls, shared) = (TlsAcceptor::from(Arc::clone(&self.tls)), Arc::clone(&self.shared));
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, ads) = (tls.clone(), Ads(Arc::clone(&shared)));
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = AggregatedDiscoveryServiceServer::new(ads);
                    let service = TowerToHyperService::new(service);
                    let builder = Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
    }

    /// Goes away with all its connections.
    pub(crate) async fn go_away(&mut self) {
        self.tasks.shutdown().await;
    }

    pub(crate) fn url(&self) -> url::Url {
        format!("https://{}", self.address).parse().unwrap()
    }

    /// A token for a proxy; the only one that is taken from now on.
    pub(crate) fn token(&self, id: &ProxyId) -> SecretText {
        let digits = self.authority.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let ca: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        let claims = json!({"kind": "dataplane", "mesh": id.mesh, "name": id.name, "ca": ca, "exp": 4_000_000_000_u32});
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        self.shared.token.lock().unwrap().clone_from(&token);
        SecretText::new(token)
    }

    /// Takes no token any more.
    pub(crate) fn refuse_tokens(&self) {
        self.shared.token.lock().unwrap().clear();
    }

    /// What is true from now on.
    pub(crate) fn set(&self, resources: Resources) {
        self.shared.truth.send_replace(resources);
    }

    /// What has happened since the last call.
    pub(crate) fn take_log(&self) -> Log {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }

    /// Waits for a line that begins so.
    pub(crate) async fn logged(&self, beginning: &str) -> String {
        crate::world::eventually(
            &format!("the log has {beginning}"),
            Duration::from_secs(20),
            async || {
                let log = self.shared.log.lock().unwrap();
                log.iter().find(|line| line.starts_with(beginning)).cloned()
            },
        )
        .await
    }
}

struct Ads(Arc<Shared>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

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
        let expected = format!("Bearer {}", self.0.token.lock().unwrap());
        if request.metadata().get("authorization").is_none_or(|token| *token != expected) {
            return Err(Status::unauthenticated("the token was not signed by this control plane"));
        }
        let (responses, written) = mpsc::channel(16);
        let stream =
            Session { shared: Arc::clone(&self.0), responses, has: BTreeMap::new(), nonce: 0 };
        let mut work = JoinSet::new();
        work.spawn(stream.serve(request.into_inner()));
        let owned = async_stream(written, work);
        Ok(Response::new(Box::pin(owned)))
    }
}

/// The responses, which end the work when dropped.
fn async_stream(
    written: mpsc::Receiver<Result<DeltaDiscoveryResponse, Status>>,
    work: JoinSet<()>,
) -> impl Stream<Item = Result<DeltaDiscoveryResponse, Status>> {
    futures::StreamExt::map(ReceiverStream::new(written), move |response| {
        let _work = &work;
        response
    })
}

struct Session {
    shared: Arc<Shared>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    /// What the agent has, of each type that it subscribed to.
    has: BTreeMap<&'static str, BTreeMap<String, String>>,
    nonce: u64,
}

impl Session {
    async fn serve(mut self, mut requests: Streaming<DeltaDiscoveryRequest>) {
        let mut truth = self.shared.truth.subscribe();
        self.log("connected".to_owned());
        loop {
            let now = truth.borrow_and_update().clone();
            self.send(&now).await;
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.heard(request),
                    _ => return,
                },
                _ = truth.changed() => {}
            }
        }
    }

    fn log(&self, line: String) {
        self.shared.log.lock().unwrap().push(line);
    }

    fn heard(&mut self, request: DeltaDiscoveryRequest) {
        let type_url = TYPES.iter().find(|known| **known == request.type_url).unwrap();
        if request.response_nonce.is_empty() {
            let had = request.initial_resource_versions;
            if !had.is_empty() {
                self.log(format!("had {} {}", short(type_url), had.len()));
            }
            self.has.insert(type_url, had.into_iter().collect());
        } else if let Some(status) = request.error_detail {
            self.log(format!("nack {} {}", short(type_url), status.message));
        } else {
            self.log(format!("ack {}", short(type_url)));
        }
    }

    async fn send(&mut self, truth: &Resources) {
        for type_url in TYPES {
            let Some(has) = self.has.get_mut(type_url) else { continue };
            let wanted = truth.get(type_url).cloned().unwrap_or_default();
            let new = wanted.iter().filter(|(name, resource)| {
                has.get(*name).is_none_or(|version| *version != resource.version)
            });
            let resources: Vec<Resource> = new
                .map(|(name, resource)| Resource {
                    name: name.clone(),
                    version: resource.version.clone(),
                    resource: Some(Any {
                        type_url: resource.body.type_url.clone(),
                        value: resource.body.value.clone(),
                    }),
                    ..Resource::default()
                })
                .collect();
            let removed: Vec<String> =
                has.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
            if resources.is_empty() && removed.is_empty() {
                continue;
            }
            *has = wanted.into_iter().map(|(name, of)| (name, of.version)).collect();
            self.nonce += 1;
            let names: Vec<&str> = resources.iter().map(|of| of.name.as_str()).collect();
            self.log(format!("sent {} {}", short(type_url), names.join(" ")));
            let response = DeltaDiscoveryResponse {
                type_url: type_url.to_owned(),
                nonce: self.nonce.to_string(),
                resources,
                removed_resources: removed,
                ..DeltaDiscoveryResponse::default()
            };
            drop(self.responses.send(Ok(response)).await);
        }
    }
}

fn short(type_url: &str) -> &str {
    type_url.rsplit('.').next().unwrap_or(type_url)
}
