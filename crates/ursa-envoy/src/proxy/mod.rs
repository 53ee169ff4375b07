//! One proxy as policies see it: its listeners, routes, clusters and what its agent is told.
//!
//! Small on purpose: only what some policy reads or changes. What is the same for every proxy
//! (timeouts, statistics, the router filter) is decided where the picture becomes Envoy's
//! configuration, in [`mod@crate::resources`].
//!
//! Names here are identities: they become Envoy resource names and may contain dots. The names
//! under which Envoy counts are derived from them by [`stat_name`].

mod access_log;
mod cluster;
mod narrow;
mod permission;
mod retry;
mod route;

use std::collections::BTreeMap;
use std::time::Duration;

use ursa_model::key::ProxyId;
use ursa_model::pipeline::PipelineConfig;

use crate::abilities::Abilities;
use crate::module::Propagation;

pub use access_log::{AccessLog, LogFilter, LogFormat, LogSink, LogValue, LoggedRoutes};
pub use cluster::{
    Cluster, ClusterKind, ClusterTimeouts, ConnectionLimits, Endpoint, FailurePercentage,
    HealthCheck, HealthChecks, OutlierDetection, SuccessRate, UpstreamTls,
};
pub use permission::{
    Client, IDENTITY_SECRET, ListenerTls, MeshTls, Permission, Permissions, TAG_NAMES,
    TRUST_SECRET, TextMatch, Verdict,
};
pub use retry::{BackOff, RateLimitedBackOff, ResetHeader, Retry};
pub use route::{
    Decider, Forward, HeaderChanges, HeaderMatch, HeaderValue, HostRewrite, Mirror, PathMatch,
    PathRewrite, QueryMatch, QueryValue, Redirect, RequestMatch, Route, RouteAction, RouteConfig,
    RouteTimeouts, RouteTracing, Sampling, Tag, TagSource, WeightedCluster,
};

/// How long a request, a WebSocket or a stream may be silent in both directions: Kuma's defaults. Envoy's own 5 minutes would cut those that wait
/// for events. Envoy: `stream_idle_timeout`.
const INBOUND_STREAM_IDLE: Duration = Duration::from_hours(1);
/// The same of requests that leave.
const OUTBOUND_STREAM_IDLE: Duration = Duration::from_mins(30);
/// How long a connection may be without requests. Longer where connections come from other proxies, which keep them for an hour: the side that
/// sends requests closes first, so none is sent into a closing connection. Envoy: `idle_timeout`, default 1 h.
const INBOUND_IDLE: Duration = Duration::from_hours(2);
/// The same of connections of the workload.
const OUTBOUND_IDLE: Duration = Duration::from_hours(1);

/// Everything that one proxy and the agent beside it are told.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyConfig {
    /// Which proxy this is.
    pub id: ProxyId,
    /// The service it speaks for (`kuma.io/service`); `service.name` of its spans unless a policy
    /// says otherwise.
    pub service: String,
    /// IP address or DNS name of the proxy (`networking.address`).
    pub address: String,
    /// Certificates of the mesh. Unset: mTLS is off.
    pub mesh_tls: Option<MeshTls>,
    /// What its Envoy can do. Policies choose by it; it reaches nobody.
    pub abilities: Abilities,
    /// What it listens on. Names are unique.
    pub listeners: Vec<Listener>,
    /// Where it sends to. Names are unique.
    pub clusters: Vec<Cluster>,
    /// What the agent does with telemetry. Never reaches Envoy.
    pub pipeline: PipelineConfig,
}

impl ProxyConfig {
    /// The listeners that speak HTTP, in order.
    pub fn http_listeners(&self) -> impl Iterator<Item = &HttpListener> {
        self.listeners.iter().filter_map(|listener| match &listener.kind {
            ListenerKind::Http(http) => Some(http),
            ListenerKind::Tcp(_) => None,
        })
    }

    /// Which tracer its listeners have; all have the same.
    pub fn tracer(&self) -> Tracer {
        let tracing = self.http_listeners().find_map(|http| http.tracing.as_ref());
        tracing.map(|tracing| tracing.tracer).unwrap_or_default()
    }

    /// The listeners that speak HTTP, in order, to be changed by a policy.
    pub fn http_listeners_mut(&mut self) -> impl Iterator<Item = &mut HttpListener> {
        self.listeners.iter_mut().filter_map(|listener| match &mut listener.kind {
            ListenerKind::Http(http) => Some(http),
            ListenerKind::Tcp(_) => None,
        })
    }
}

/// One address the proxy accepts connections on.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Unique within the proxy, for example `inbound:127.0.0.1:80`.
    pub name: String,
    /// Whether it takes requests for the service or from it.
    pub direction: Direction,
    /// IP address to bind, v4 or v6.
    pub address: String,
    /// Port to bind; 0 lets the system choose.
    pub port: u16,
    /// The service that its requests are for: of an inbound the one that the inbound serves, of an
    /// outbound the one that it leads to.
    pub destination: String,
    /// Of an inbound its name and its tags, by which policies choose. They reach nobody.
    pub inbound: Option<Inbound>,
    /// What it speaks.
    pub kind: ListenerKind,
    /// Whether connections are by TLS with certificates of the mesh. Of inbounds only. Changing it drains open connections.
    pub tls: ListenerTls,
    /// Who may connect by certificate; of a permissive listener others may as well. Unset: everyone. Changing the rules drains open connections of
    /// listeners that do not speak HTTP; of those that do, they are in the routes.
    pub permissions: Option<Permissions>,
    /// What is written of each request, or of each connection where it does not speak HTTP.
    /// Changing it drains open connections.
    pub access_logs: Vec<AccessLog>,
}

/// An inbound as its Dataplane describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inbound {
    /// The port's name.
    pub name: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Listener {
    /// The clusters that what it takes may go to, mirrors not among them; some may stand there several times.
    pub fn clusters(&self) -> Vec<&str> {
        match &self.kind {
            ListenerKind::Http(http) => {
                http.routes.routes.iter().flat_map(Route::clusters).collect()
            }
            ListenerKind::Tcp(tcp) => tcp.clusters.iter().map(|it| it.name.as_str()).collect(),
        }
    }
}

/// Which way traffic of a listener goes, seen from the service. Envoy: `traffic_direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the service beside the proxy; spans are of kind server.
    Inbound,
    /// From the service beside the proxy; spans are of kind client.
    Outbound,
}

/// What a listener speaks.
#[derive(Debug, Clone, PartialEq)]
pub enum ListenerKind {
    /// HTTP/1.1 and HTTP/2, told apart by what the client sends.
    Http(HttpListener),
    /// Bytes, passed on as they are.
    Tcp(TcpRoute),
}

/// Where the connections of a listener go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRoute {
    /// Where connections go: one of these by weight; one at least.
    pub clusters: Vec<WeightedCluster>,
    /// How long a connection may be silent. Unset: Envoy's hour.
    pub idle_timeout: Option<Duration>,
    /// How often an endpoint is tried. Unset: once. Envoy: `max_connect_attempts`.
    pub max_connect_attempts: Option<u32>,
}

impl TcpRoute {
    /// To one cluster.
    pub fn to(cluster: impl Into<String>) -> Self {
        let clusters = vec![WeightedCluster { name: cluster.into(), weight: 1 }];
        Self { clusters, idle_timeout: None, max_connect_attempts: None }
    }
}

/// The HTTP side of a listener. Changing it drains open connections, so what changes often is in
/// [`RouteConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct HttpListener {
    /// Under which name Envoy counts requests; made legal by [`stat_name`].
    pub stat_prefix: String,
    /// The tracer, if any. When it is taken away, set [`RouteTracing::off`] on the routes too:
    /// connections that still live on the old listener then stop tracing at once.
    pub tracing: Option<Tracing>,
    /// Hooks around the tracer, where it alone does not read and write what it shall.
    pub propagation: Option<Propagation>,
    /// How long connections and requests may take.
    pub timeouts: HttpTimeouts,
    /// The routes, delivered apart from the listener (RDS).
    pub routes: RouteConfig,
}

impl HttpListener {
    /// Without tracing, with the timeouts of that direction.
    pub fn new(stat_prefix: impl Into<String>, direction: Direction, routes: RouteConfig) -> Self {
        Self {
            stat_prefix: stat_prefix.into(),
            tracing: None,
            propagation: None,
            timeouts: HttpTimeouts::of(direction),
            routes,
        }
    }
}

/// How long connections and requests of a listener may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpTimeouts {
    /// A request without a byte in either direction. Zero: for ever. Envoy: `stream_idle_timeout`.
    pub stream_idle: Duration,
    /// A connection without a request. Zero: for ever. Envoy: `idle_timeout`.
    pub connection_idle: Duration,
    /// A connection at all. Envoy: `max_connection_duration`.
    pub max_connection_duration: Option<Duration>,
    /// A request and its answer. Envoy: `max_stream_duration`.
    pub max_stream_duration: Option<Duration>,
    /// Until a request's headers are there. Envoy: `request_headers_timeout`.
    pub request_headers: Option<Duration>,
}

impl HttpTimeouts {
    /// What holds where nobody says otherwise.
    pub fn of(direction: Direction) -> Self {
        let (stream_idle, connection_idle) = match direction {
            Direction::Inbound => (INBOUND_STREAM_IDLE, INBOUND_IDLE),
            Direction::Outbound => (OUTBOUND_STREAM_IDLE, OUTBOUND_IDLE),
        };
        Self {
            stream_idle,
            connection_idle,
            max_connection_duration: None,
            max_stream_duration: None,
            request_headers: None,
        }
    }
}

/// A tracer, to the agent's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// Resource attribute `service.name` of the spans.
    pub service_name: String,
    /// Which of Envoy's.
    pub tracer: Tracer,
}

/// Which of Envoy's tracers: they differ in the trace context that they read and write. What leaves the agent is the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracer {
    /// OpenTelemetry's: W3C Trace Context, and with hooks around it (see [`crate::module`]) every format.
    #[default]
    OpenTelemetry,
    /// Zipkin's: B3 in either form.
    Zipkin {
        /// Whether W3C Trace Context is written too, and read where there is no B3. Envoy:
        /// `USE_B3_WITH_W3C_PROPAGATION`.
        w3c: bool,
        /// Whether B3's single header is written whatever came. Without it the tracer writes the three headers, except
        /// that one of Envoy 1.40 writes the form that came.
        single: bool,
    },
}

/// A name as Envoy may count under it. Envoy cuts statistics names at dots and its tag rules
/// would take parts of `shop.example.com` for something else, so everything but letters,
/// digits, `-` and `_` becomes `_`.
pub fn stat_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
