//! What agents call: for a certificate, and to say which one they hold ([`ursa_envoy::identity`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use jiff::Timestamp;
use tokio::time::Instant;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;
use ursa_envoy::identity::{self as wire, Held, Issued, MAX_MESSAGE, Noted, REPORT, SIGN};
use ursa_model::ProxyId;

use super::authority::NotIssued;
use super::limit::Limit;
use super::{Holders, Secured, trust};
use crate::metrics::Metrics;
use crate::planner::Planner;
use crate::snapshot::MeshSnapshot;
use crate::tokens::{Tokens, bearer};

/// Certificates that one proxy may ask for at once, and after which time for one more.
const SIGNING: (u32, Duration) = (10, Duration::from_secs(2));
/// The same of saying what it holds.
const REPORTING: (u32, Duration) = (30, Duration::from_secs(1));

/// The service for agents.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    planner: Arc<Planner>,
    holders: Arc<Holders>,
    tokens: Arc<Tokens>,
    metrics: Metrics,
    signing: Arc<Limit>,
    reporting: Arc<Limit>,
}

impl Service {
    pub(crate) fn new(
        planner: Arc<Planner>,
        holders: Arc<Holders>,
        tokens: Arc<Tokens>,
        metrics: Metrics,
    ) -> Self {
        let limit = |(burst, every): (u32, Duration)| Arc::new(Limit::new(burst, every));
        let (signing, reporting) = (limit(SIGNING), limit(REPORTING));
        Self { planner, holders, tokens, metrics, signing, reporting }
    }

    /// Its two routes.
    pub(crate) fn router(self) -> Router {
        Router::new().route(SIGN, post(sign)).route(REPORT, post(report)).with_state(self)
    }

    /// Who calls. Asked before anything of the call is read.
    fn identify(&self, headers: &HeaderMap) -> Result<ProxyId, Status> {
        let token = bearer(headers);
        let id = token.and_then(|token| self.tokens.verify_dataplane(token, Timestamp::now()));
        let id = id.map_err(|refused| {
            self.metrics.turned_away(refused.kind());
            Status::unauthenticated(refused.to_string())
        })?;
        // Without a Dataplane nobody is remembered either.
        if self.planner.snapshots().mesh(&id.mesh).proxy(&id.name).is_none() {
            return Err(Status::failed_precondition(format!("there is no {}", id.resource_key())));
        }
        Ok(id)
    }

    fn sign(&self, id: &ProxyId, request: &wire::Request) -> Result<Issued, Status> {
        let started = Instant::now();
        let mesh = self.planner.snapshots().mesh(&id.mesh);
        let issued = issue(&mesh, id, request);
        match &issued {
            Ok(certificate) => {
                self.metrics.certificate_asked(&id.mesh, "issued");
                self.metrics.certificate_issued(&id.mesh, started.elapsed());
                tracing::info!(
                    proxy = %id, backend = certificate.backend, serial = certificate.serial,
                    not_after = certificate.not_after, "a certificate was issued"
                );
            }
            Err(status) => {
                let failed = status.code() == tonic::Code::Unavailable;
                let result = if failed { "failed" } else { "refused" };
                self.metrics.certificate_asked(&id.mesh, result);
                tracing::warn!(proxy = %id, why = status.message(), "no certificate was issued");
            }
        }
        issued
    }

    async fn note(&self, id: &ProxyId, held: Held) {
        self.holders.note(id, held.certificate, held.serving, Timestamp::now());
        let mesh = self.planner.snapshots().mesh(&id.mesh);
        let before = &mesh.secured;
        let known = before.known.contains(&id.name);
        if known && before.serving.contains(&id.name) == held.serving {
            return;
        }
        let Some(proxy) = mesh.proxy(&id.name).cloned() else { return };
        let services: Vec<_> = proxy.services().map(str::to_owned).collect();
        let change = |mesh: &mut MeshSnapshot| {
            let (serving, known) = self.holders.of_mesh(&id.mesh);
            mesh.secured = Arc::new(Secured { serving, known, assumed: mesh.secured.assumed });
        };
        // Just after a start it may only be true what was assumed: then nothing follows.
        let matters = mesh.is_permissive() && before.holds(&id.name) != held.serving;
        let leads_there = |destinations: &BTreeSet<String>| {
            services.iter().any(|service| destinations.contains(service))
        };
        self.planner
            .amend(&id.mesh, change, |generated, _| {
                matters && generated.is_none_or(|it| leads_there(&it.destinations))
            })
            .await;
    }
}

/// A certificate for the proxy, of the authority that is enabled.
fn issue(mesh: &MeshSnapshot, id: &ProxyId, request: &wire::Request) -> Result<Issued, Status> {
    let proxy = mesh.proxy(&id.name);
    let proxy = proxy
        .ok_or_else(|| Status::failed_precondition(format!("there is no {}", id.resource_key())))?;
    let backend = mesh.mtls.as_ref().and_then(|mtls| mtls.enabled());
    let backend = backend
        .ok_or_else(|| Status::failed_precondition(format!("mTLS is off in mesh `{}`", id.mesh)))?;
    let Some(authority) = mesh.trust.authorities.get(&backend.name) else {
        let why = mesh.trust.problems.get(&backend.name).map_or("it is not there yet", |why| why);
        return Err(Status::unavailable(format!(
            "the authority `{}` cannot be used: {why}",
            backend.name
        )));
    };
    let lifetime = backend.certificate_lifetime().get();
    let names = trust::names(proxy);
    match authority.issue(&request.csr, &names, lifetime, Timestamp::now()) {
        Ok(issued) => Ok(Issued { backend: backend.name.clone(), ..issued }),
        Err(error @ NotIssued::Request) => Err(Status::invalid_argument(error.to_string())),
        Err(error) => {
            tracing::error!(proxy = %id, error = &error as &dyn std::error::Error, "an authority cannot sign");
            Err(Status::unavailable(error.to_string()))
        }
    }
}

fn too_many() -> Status {
    Status::resource_exhausted("too many calls of this proxy; try later")
}

async fn sign(State(service): State<Service>, request: Request) -> Response {
    let id = match service.identify(request.headers()) {
        Ok(id) => id,
        Err(status) => return status.into_http(),
    };
    if !service.signing.take(&id, Instant::now()) {
        service.metrics.certificate_asked(&id.mesh, "limited");
        return too_many().into_http();
    }
    let call = service_fn(move |request: tonic::Request<wire::Request>| {
        let issued = service.sign(&id, request.get_ref()).map(tonic::Response::new);
        std::future::ready(issued)
    });
    let mut grpc = Grpc::new(ProstCodec::<Issued, wire::Request>::default())
        .max_decoding_message_size(2 * wire::MAX_REQUEST);
    grpc.unary(call, request.map(tonic::body::Body::new)).await.map(Body::new)
}

async fn report(State(service): State<Service>, request: Request) -> Response {
    let id = match service.identify(request.headers()) {
        Ok(id) => id,
        Err(status) => return status.into_http(),
    };
    if !service.reporting.take(&id, Instant::now()) {
        return too_many().into_http();
    }
    let call = service_fn(move |request: tonic::Request<Held>| {
        let (service, id) = (service.clone(), id.clone());
        async move {
            service.note(&id, request.into_inner()).await;
            Ok::<_, Status>(tonic::Response::new(Noted {}))
        }
    });
    let mut grpc =
        Grpc::new(ProstCodec::<Noted, Held>::default()).max_decoding_message_size(MAX_MESSAGE);
    grpc.unary(call, request.map(tonic::body::Body::new)).await.map(Body::new)
}
