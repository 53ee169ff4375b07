//! Starting a control plane, and ending it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer;
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use ursa_metrics::kuma::ALIASES;
use ursa_model::{ProxyId, ResourceKey, SecretText};
use ursa_pipeline::Sink;
use ursa_pipeline::receive::{Bind, BindError, Protocol, Receiver, Settings};
use ursa_store::{Change, Filter, MemoryStore, OpenError, SqliteStore, Store, StoreError};

use crate::ads::{Ads, MAX_REQUEST};
use crate::api::{self, About, Access, Api};
use crate::authority::{Authority, AuthorityError, hex};
use crate::backends;
use crate::config::{Addresses, Config};
use crate::files::{self, FileError};
use crate::generate::Site;
use crate::identity::{self, Holders, Keeper};
use crate::measured::Measured;
use crate::metrics::Metrics;
use crate::monitoring::Monitoring;
use crate::planner::Planner;
use crate::questions::{Questions, Service};
use crate::resources::{Applied, ChangeError, Resources, Source};
use crate::serve::{ListenError, Serving, listen, serve};
use crate::spans::{Sending, Tracer};
use crate::tokens::{Identity, TokenError, Tokens};
use crate::{grpc, gui, telemetry};

/// Agents at once, each with one connection.
const MAX_AGENTS: usize = 8192;
/// Connections to the API at once.
const MAX_API_CONNECTIONS: usize = 512;
/// Connections of Prometheis at once.
const MAX_PROMETHEIS: usize = 128;
/// How long requests under way may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long the tasks may take to end in all.
const END: Duration = Duration::from_secs(5);
/// The resources, in the data directory.
const DATABASE: &str = "ursa.db";
/// The queues of own traces, in the data directory.
const OWN_TRACES: &str = "own-traces";
/// The mesh that exists from the first start.
const DEFAULT_MESH: &str = "type: Mesh\nname: default\n";

/// Why a control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no usable certificate authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Tokens cannot be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no randomness to name this instance.
    #[error("the system gives no random bytes")]
    Randomness,
}

/// The control plane.
#[derive(Debug)]
pub struct ControlPlane;

/// A control plane that runs, until [`shutdown`](Self::shutdown). Dropped without it, it ends by
/// itself, a little later.
#[derive(Debug)]
pub struct Running {
    addresses: Addresses,
    fingerprint: String,
    admin_token: SecretText,
    tokens: Arc<Tokens>,
    resources: Arc<Resources>,
    window: Arc<telemetry::Window>,
    receivers: Vec<Receiver>,
    sending: Option<Sending>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl ControlPlane {
    /// Starts with what the data directory holds; makes what is missing there. When it returns,
    /// every port answers.
    ///
    /// # Errors
    /// When the data directory cannot be used, or a port cannot be had. What was started is
    /// stopped again.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let now = Timestamp::now();
        let dir = config.data_dir.as_deref();
        if let Some(dir) = dir {
            files::make_dir(dir)?;
        }
        let authority = Authority::open(dir, now)?;
        let tokens = Arc::new(Tokens::open(dir, authority.fingerprint())?);
        let admin_token = tokens.admin(dir, now)?;

        let mut instance = [0; 4];
        aws_lc_rs::rand::fill(&mut instance).map_err(|_| StartError::Randomness)?;
        let instance = hex(&instance);
        let kinds = Arc::new(ursa_policies::kinds());
        let aliases = if config.kuma_names { ALIASES } else { &[] };
        let metrics = Metrics::new(&instance, &config.zone, &kinds, aliases);
        let (tracer, sending) = match config.traces.clone() {
            None => (Tracer::default(), None),
            Some(traces) => {
                let storage = dir.map(|dir| dir.join(OWN_TRACES));
                let resource = resource(&instance, &config.zone);
                let (tracer, sending) =
                    Sending::start(traces, resource, storage, &metrics.registry).await;
                (tracer, Some(sending))
            }
        };

        let listener = listen(config.api, "the REST API and live view", "--api-port").await?;
        let xds = listen(config.xds, "agents' connections", "--xds-port").await?;
        let mads = listen(config.mads, "monitoring assignments", "--mads-port").await?;
        let window = Arc::new(telemetry::Window::new(config.telemetry_memory));
        let sink: Arc<dyn Sink> = Arc::clone(&window) as _;
        let otlp_grpc = Settings::new(Protocol::OtlpGrpc, Bind::Tcp(config.otlp_grpc))
            .start(Arc::clone(&sink), &metrics.registry)
            .await
            .map_err(cannot_listen(config.otlp_grpc, "OTLP over gRPC", "--otlp-grpc-port"))?;
        let otlp_http = Settings::new(Protocol::OtlpHttp, Bind::Tcp(config.otlp_http))
            .start(sink, &metrics.registry)
            .await
            .map_err(cannot_listen(config.otlp_http, "OTLP over HTTP", "--otlp-http-port"))?;
        let addresses = Addresses {
            api: listener.local_addr().unwrap_or(config.api),
            xds: xds.local_addr().unwrap_or(config.xds),
            mads: mads.local_addr().unwrap_or(config.mads),
            otlp_grpc: otlp_grpc.address().unwrap_or(config.otlp_grpc),
            otlp_http: otlp_http.address().unwrap_or(config.otlp_http),
        };

        let store = open_store(dir, metrics.clone(), tracer.clone()).await?;
        let listing = store.list(&Filter::default()).await?;
        let built_in = backends::built_in(addresses.otlp_grpc, &config.hostname);
        let site = Site { zone: config.zone.clone(), built_in };
        let planner = Planner::new(
            Arc::clone(&store),
            Arc::clone(&kinds),
            site,
            metrics.clone(),
            tracer.clone(),
        );
        let planner = Arc::new(planner);
        let known = planner.begin(&listing).await;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let guard = stop.clone().drop_guard();
        tasks.spawn(Arc::clone(&planner).run(known, listing.revision, stop.clone()));
        let holders = Arc::<Holders>::default();
        let keeper = Keeper::begin(
            Arc::clone(&planner),
            Arc::clone(&store),
            Arc::clone(&holders),
            metrics.clone(),
        );
        tasks.spawn(keeper.await.run(stop.clone()));
        let resources = Arc::new(Resources::new(Arc::clone(&store), kinds, Arc::clone(&planner)));

        let names = names(&config);
        let ads = Ads {
            planner: Arc::clone(&planner),
            tokens: Arc::clone(&tokens),
            metrics: metrics.clone(),
            tracer: tracer.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let questions = Arc::<Questions>::default();
        let asking = Service {
            questions: Arc::clone(&questions),
            tokens: Arc::clone(&tokens),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let ads = AggregatedDiscoveryServiceServer::new(ads).max_decoding_message_size(MAX_REQUEST);
        let serving = Serving {
            tls: Some(TlsAcceptor::from(authority.server(&names, now, &[b"h2"])?)),
            max_connections: MAX_AGENTS,
            http2_only: true,
            grace: GRACE,
        };
        let identities = identity::service::Service::new(
            Arc::clone(&planner),
            Arc::clone(&holders),
            Arc::clone(&tokens),
            metrics.clone(),
        );
        let counted = || middleware::from_fn_with_state(metrics.calls.clone(), grpc::measure);
        let calls = asking.router().merge(identities.router());
        let ads = calls.fallback_service(ads).layer(counted());
        tasks.spawn(serve(xds, ads, serving, stop.clone()));

        // What holds for a port by its address: on loopback whoever is there, else TLS and a token.
        let access_on = |address: SocketAddr| Access {
            tokens: (!address.ip().is_loopback()).then(|| Arc::clone(&tokens)),
            hostname: config.hostname.as_str().into(),
            metrics: metrics.clone(),
        };
        let serving_on = |address: SocketAddr, max_connections: usize| {
            let tls = if address.ip().is_loopback() {
                None
            } else {
                Some(TlsAcceptor::from(authority.server(&names, now, &[b"h2", b"http/1.1"])?))
            };
            Ok::<_, AuthorityError>(Serving {
                tls,
                max_connections,
                http2_only: false,
                grace: GRACE,
            })
        };
        let monitoring =
            Monitoring { planner: Arc::clone(&planner), tasks: tasks.clone(), stop: stop.clone() };
        let monitoring = monitoring.router(access_on(addresses.mads)).layer(counted());
        let serving = serving_on(addresses.mads, MAX_PROMETHEIS)?;
        tasks.spawn(serve(mads, monitoring, serving, stop.clone()));

        let access = access_on(addresses.api);
        let api = Api {
            resources: Arc::clone(&resources),
            planner,
            holders,
            questions,
            tokens: Arc::clone(&tokens),
            metrics: metrics.clone(),
            tracer,
            about: Arc::new(About::new(&config.hostname, &instance)),
            window: Arc::clone(&window),
        };
        let others = telemetry::routes(Arc::clone(&window), stop.clone()).merge(gui::routes());
        let serving = serving_on(addresses.api, MAX_API_CONNECTIONS)?;
        tasks.spawn(serve(listener, api::router(api, access, others), serving, stop.clone()));

        tracing::info!(
            api = %addresses.api, xds = %addresses.xds, mads = %addresses.mads, otlp_grpc = %addresses.otlp_grpc,
            otlp_http = %addresses.otlp_http, instance, "control plane started"
        );
        Ok(Running {
            addresses,
            fingerprint: authority.fingerprint().to_owned(),
            admin_token,
            tokens,
            resources,
            window,
            receivers: vec![otlp_grpc, otlp_http],
            sending,
            tasks,
            stop: guard,
        })
    }
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The API's URL: `http://…` on loopback, `https://…` elsewhere.
    pub fn api_url(&self) -> String {
        let scheme = if self.addresses.api.ip().is_loopback() { "http" } else { "https" };
        format!("{scheme}://{}", self.addresses.api)
    }

    /// SHA-256 of the certificate authority, in lower-case hexadecimal; every token names it.
    pub fn ca_fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A token that may do everything. Also in the data directory's `admin-token`.
    pub fn admin_token(&self) -> &SecretText {
        &self.admin_token
    }

    /// A token for a proxy's agent.
    ///
    /// # Errors
    /// When it would last longer than ten years, or no time.
    pub fn dataplane_token(
        &self,
        id: &ProxyId,
        valid_for: Duration,
    ) -> Result<SecretText, TokenError> {
        self.tokens.issue(&Identity::Dataplane(id.clone()), Timestamp::now(), valid_for)
    }

    /// Makes or changes all resources of `sources`, or none, as `POST /_apply` does.
    ///
    /// # Errors
    /// When anything is wrong with them; all that is wrong is told.
    pub async fn apply(&self, sources: &[Source<'_>]) -> Result<Vec<Applied>, ChangeError> {
        self.resources.apply(sources, false).await
    }

    /// The recent telemetry.
    pub fn window(&self) -> &Arc<telemetry::Window> {
        &self.window
    }

    /// Stops taking connections, lets what is under way end, and ends.
    pub async fn shutdown(self) {
        self.stop.disarm().cancel();
        self.tasks.close();
        let receivers = self.receivers.into_iter().map(|receiver| receiver.shutdown(GRACE));
        futures::future::join_all(receivers).await;
        if timeout(END, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "not everything ended in time");
        }
        if let Some(sending) = self.sending {
            sending.shutdown(GRACE).await;
        }
    }
}

/// What the control plane's own spans say of where they come from.
fn resource(instance: &str, zone: &str) -> BTreeMap<String, String> {
    let said = [
        ("service.name", "ursa-control-plane"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", instance),
        ("kuma.zone", zone),
    ];
    said.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn cannot_listen(
    address: SocketAddr,
    wants: &'static str,
    flag: &'static str,
) -> impl FnOnce(BindError) -> ListenError {
    move |error| ListenError::new(address, wants, flag, error.source)
}

/// The store, with the mesh `default` if this is its first use.
async fn open_store(
    dir: Option<&Path>,
    metrics: Metrics,
    tracer: Tracer,
) -> Result<Arc<dyn Store>, StartError> {
    let store: Arc<dyn Store> = match dir {
        None => Arc::new(MemoryStore::new()),
        Some(dir) => Arc::new(SqliteStore::open(dir.join(DATABASE)).await?),
    };
    let store: Arc<dyn Store> = Arc::new(Measured::new(store, metrics, tracer));
    if store.list(&Filter::default()).await?.revision == 0 {
        let mesh = Change::put(ResourceKey::global("Mesh", "default"), DEFAULT_MESH);
        store.write(vec![mesh]).await?;
    }
    Ok(store)
}

/// What the server's certificate names beside loopback.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec![config.hostname.clone()];
    for address in [config.api, config.xds, config.mads] {
        if !address.ip().is_unspecified() {
            names.push(address.ip().to_string());
        }
    }
    names
}
