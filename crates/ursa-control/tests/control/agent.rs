//! An agent of the tests: incremental ADS over TLS with a pinned authority, nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use envoy_types::pb::google::protobuf::{Struct, Value as Field, value::Kind};
use envoy_types::pb::google::rpc::Status as Wrong;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use ursa_control::Running;
use ursa_envoy::json::to_json;
use ursa_envoy::resources::TYPES;
use ursa_model::ProxyId;

use crate::shop::SOON;

/// Type → name → version.
pub(crate) type Held = BTreeMap<String, BTreeMap<String, String>>;

/// A connected agent. It holds what it acknowledged.
pub(crate) struct Agent {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
    pub(crate) held: Held,
}

impl Agent {
    /// Connects as a proxy of the shop, with a good token, and holds everything.
    pub(crate) async fn start(running: &Running, id: &ProxyId) -> Self {
        let mut agent = Self::connect(running, id, Held::new()).await;
        agent.follow_until_acknowledged(running, id).await;
        agent
    }

    /// Connects with a good token and subscribes everything, holding `held`.
    pub(crate) async fn connect(running: &Running, id: &ProxyId, held: Held) -> Self {
        let token = running.dataplane_token(id, SOON).unwrap();
        let node = format!("{}.{}", id.mesh, id.name);
        let opened = Self::open(running, running.ca_fingerprint(), token.expose(), &node, held);
        opened.await.expect("the stream opens")
    }

    /// Connects as [`Agent::start`] does, and says this of itself.
    pub(crate) async fn saying(running: &Running, id: &ProxyId, said: &[(&str, &str)]) -> Self {
        let token = running.dataplane_token(id, SOON).unwrap();
        let text = |(name, text): &(&str, &str)| {
            let kind = Some(Kind::StringValue((*text).to_owned()));
            ((*name).to_owned(), Field { kind })
        };
        let node = Node {
            id: format!("{}.{}", id.mesh, id.name),
            metadata: Some(Struct { fields: said.iter().map(text).collect() }),
            ..Node::default()
        };
        let pin = running.ca_fingerprint();
        let opened = Self::open_as(running, pin, token.expose(), node, Held::new()).await;
        let mut agent = opened.expect("the stream opens");
        agent.follow_until_acknowledged(running, id).await;
        agent
    }

    /// Opens a stream with whatever is given.
    pub(crate) async fn open(
        running: &Running,
        pin: &str,
        token: &str,
        node: &str,
        held: Held,
    ) -> Result<Self, Status> {
        let node = Node { id: node.to_owned(), ..Node::default() };
        Self::open_as(running, pin, token, node, held).await
    }

    async fn open_as(
        running: &Running,
        pin: &str,
        token: &str,
        node: Node,
        held: Held,
    ) -> Result<Self, Status> {
        let channel = channel(running, pin).await?;
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let (requests, outgoing) = mpsc::channel(64);
        for type_url in TYPES {
            let first = DeltaDiscoveryRequest {
                node: Some(node.clone()),
                type_url: type_url.to_owned(),
                resource_names_subscribe: vec!["*".to_owned()],
                initial_resource_versions: held
                    .get(type_url)
                    .map(|held| held.clone().into_iter().collect())
                    .unwrap_or_default(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.send(first).await.unwrap();
        }
        let mut request = Request::new(ReceiverStream::new(outgoing));
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(Self { requests, responses, held })
    }

    /// The next response, or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let next = timeout(SOON, self.responses.message()).await.expect("a response in time")?;
        next.ok_or_else(|| Status::new(Code::Ok, "the stream ended"))
    }

    /// Accepts a response.
    pub(crate) async fn ack(&mut self, response: &DeltaDiscoveryResponse) {
        let held = self.held.entry(response.type_url.clone()).or_default();
        for resource in &response.resources {
            held.insert(resource.name.clone(), resource.version.clone());
        }
        for name in &response.removed_resources {
            held.remove(name);
        }
        self.answer(response, None).await;
    }

    /// Refuses a response.
    pub(crate) async fn nack(&self, response: &DeltaDiscoveryResponse, why: &str) {
        let error = Wrong { code: 13, message: why.to_owned(), ..Wrong::default() };
        self.answer(response, Some(error)).await;
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, error_detail: Option<Wrong>) {
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(answer).await.unwrap();
    }

    /// Accepts the next response, which must be of this type, and returns its resources as JSON.
    pub(crate) async fn accept(&mut self, type_url: &str) -> BTreeMap<String, Value> {
        let response = self.next().await.unwrap();
        assert_eq!(response.type_url, type_url);
        self.ack(&response).await;
        bodies(&response)
    }

    /// Accepts whatever comes until everything that was meant for the proxy is acknowledged.
    pub(crate) async fn follow_until_acknowledged(&mut self, running: &Running, id: &ProxyId) {
        let path = format!("/meshes/{}/dataplanes/{}/_config", id.mesh, id.name);
        loop {
            let config = crate::shop::get(running, &path).await;
            let wanted = config["resources"].as_object().unwrap();
            let version = |resource: &Value| resource["version"].as_str().unwrap().to_owned();
            let done = TYPES.iter().all(|type_url| {
                let wanted = wanted.get(*type_url).and_then(Value::as_object).map(|of_type| {
                    of_type.iter().map(|(name, it)| (name.clone(), version(it))).collect()
                });
                self.held.get(*type_url) == Some(&wanted.unwrap_or_default())
            });
            if done {
                return;
            }
            let response = self.next().await.unwrap();
            self.ack(&response).await;
        }
    }
}

/// The resources of a response as JSON.
pub(crate) fn bodies(response: &DeltaDiscoveryResponse) -> BTreeMap<String, Value> {
    let body = |any: &envoy_types::pb::google::protobuf::Any| to_json(&any.type_url, &any.value);
    let resources = response.resources.iter();
    resources.map(|it| (it.name.clone(), body(it.resource.as_ref().unwrap()))).collect()
}

/// The overall sampling of a route configuration's first route, in percent.
pub(crate) fn overall(routes: &Value) -> u64 {
    let routes = routes["virtual_hosts"][0]["routes"].as_array();
    let route = routes.and_then(|routes| routes.last()).unwrap();
    let share = &route["tracing"]["overall_sampling"];
    let of = match share["denominator"].as_str() {
        Some("MILLION") => 1_000_000,
        Some("TEN_THOUSAND") => 10_000,
        _ => 100,
    };
    share["numerator"].as_u64().unwrap_or_default() * 100 / of
}

pub(crate) async fn channel(running: &Running, pin: &str) -> Result<Channel, Status> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pinned = Arc::new(Pinned { pin: pin.to_owned(), provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = running.addresses().xds;
    let dial = tower::service_fn(move |_| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(dial).await.map_err(|error| {
        let mut words = error.to_string();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        Status::unavailable(words)
    })
}

/// Trusts the authority whose certificate's SHA-256 is `pin`, which the server sends along.
#[derive(Debug)]
struct Pinned {
    pin: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_pinned = |certificate: &&CertificateDer<'_>| {
            let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, certificate);
            let pin = self.pin.as_bytes().chunks(2);
            let pin = pin.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap());
            pin.eq(digest.as_ref().iter().copied())
        };
        let authority = chain.iter().find(is_pinned);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let webpki = webpki.build().map_err(|error| Error::General(error.to_string()))?;
        webpki.verify_server_cert(leaf, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
