//! One proxy as policies see it: its listeners, routes, clusters and what its agent is told.
//!
//! Small on purpose: only what some policy reads or changes. What is the same for every proxy
//! (timeouts, statistics, the router filter) is decided where the picture becomes Envoy's
//! configuration, in [`mod@crate::resources`].
//!
//! Names here are identities: they become Envoy resource names and may contain dots. The names
//! under which Envoy counts are derived from them by [`stat_name`].

use std::time::Duration;

use ursa_model::key::ProxyId;
use ursa_model::percent::Percent;
use ursa_model::pipeline::PipelineConfig;

use crate::abilities::Abilities;
use crate::module::Propagation;

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
            ListenerKind::Tcp { .. } => None,
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
            ListenerKind::Tcp { .. } => None,
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
    /// What it speaks.
    pub kind: ListenerKind,
    /// What is written of each request, or of each connection where it does not speak HTTP.
    /// Changing it drains open connections.
    pub access_logs: Vec<AccessLog>,
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
    Tcp {
        /// Name of the cluster they go to.
        cluster: String,
    },
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
    /// The routes, delivered apart from the listener (RDS).
    pub routes: RouteConfig,
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

/// The routes of one listener.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfig {
    /// Unique within the proxy; the RDS resource's name.
    pub name: String,
    /// Tried in order; the first match wins.
    pub routes: Vec<Route>,
}

/// Where matching requests go, and how they are traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Which requests it takes.
    pub requests: RequestMatch,
    /// Name of the cluster requests go to.
    pub cluster: String,
    /// Sampling and tags. On the route, so that changing them drains no connection.
    pub tracing: RouteTracing,
}

/// Requests: all that is given must match. Default: every request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestMatch {
    /// The path, without its query.
    pub path: PathMatch,
    /// The method, like `GET`. Unset: any.
    pub method: Option<String>,
    /// Headers, all of them.
    pub headers: Vec<HeaderMatch>,
}

/// A path. Default: all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// It begins with this; `/` matches all.
    Prefix(String),
    /// Its first segments are these; `/api` matches `/api` and `/api/v1`, and not `/apis`.
    Segments(String),
    /// The whole of it is this.
    Exact(String),
    /// The whole of it matches this expression (RE2).
    Regex(String),
}

impl Default for PathMatch {
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// A header of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Its name; case does not count.
    pub name: String,
    /// What is asked of it.
    pub value: HeaderValue,
}

/// What is asked of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// It is there.
    Present,
    /// It is not there.
    Absent,
    /// Its value is this.
    Exact(String),
    /// Its value begins with this.
    Prefix(String),
    /// Its whole value matches this expression (RE2).
    Regex(String),
}

/// How requests of a route are traced, if the listener has a tracer. Default: [`RouteTracing::off`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteTracing {
    /// Which share of requests.
    pub sampling: Sampling,
    /// What is written on each span, names unique.
    pub tags: Vec<Tag>,
}

impl RouteTracing {
    /// No request is traced, on whatever listener the connection lives.
    pub fn off() -> Self {
        Self::default()
    }
}

/// Shares of requests that are traced. Default: none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Bounds the others. Envoy: `overall_sampling`.
    pub overall: Percent,
    /// Of requests with `x-client-trace-id`. Envoy: `client_sampling`.
    pub client: Percent,
    /// Of all other requests. Envoy: `random_sampling`.
    pub random: Percent,
}

impl Sampling {
    /// Every request is traced: Envoy's own default.
    pub const ALL: Self =
        Self { overall: Percent::HUNDRED, client: Percent::HUNDRED, random: Percent::HUNDRED };

    /// No request is traced.
    pub const NONE: Self =
        Self { overall: Percent::ZERO, client: Percent::ZERO, random: Percent::ZERO };
}

impl Default for Sampling {
    fn default() -> Self {
        Self::NONE
    }
}

/// One attribute on every span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Key of the attribute.
    pub name: String,
    /// Where its value comes from.
    pub source: TagSource,
}

/// Where the value of a [`Tag`] comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSource {
    /// Always this text, which is not empty.
    Literal(String),
    /// A request header.
    Header {
        /// Name of the header.
        name: String,
        /// Value when the request has no such header. Unset: no attribute then.
        default: Option<String>,
    },
}

/// One place where a listener's requests are written down.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    /// Where, and in which words.
    pub sink: LogSink,
    /// Of which requests.
    pub filter: LogFilter,
}

/// Where a request is written down. Texts are formats: they may hold command operators that every
/// supported Envoy knows (see [`mod@crate::format`]).
#[derive(Debug, Clone, PartialEq)]
pub enum LogSink {
    /// A file that Envoy writes itself.
    File {
        /// Absolute path; `/dev/stdout` is one too.
        path: String,
        /// What a line says.
        format: LogFormat,
    },
    /// The agent, as log records of OpenTelemetry.
    Agent {
        /// By which name the agent tells these records from others: a key of
        /// [`PipelineConfig::channels`]. Sent as the authority of the call.
        channel: String,
        /// The record's body. Unset: none.
        body: Option<LogValue>,
        /// The record's attributes.
        attributes: Vec<(String, String)>,
    },
}

/// What a line of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// Text as it is; it ends with its own line feed.
    Text(String),
    /// An object on each line.
    Json {
        /// Names and values. A value that is one operator has that operator's type.
        fields: Vec<(String, String)>,
        /// Whether what an operator has no value for is left out, rather than null.
        omit_empty: bool,
    },
}

/// A value with formats in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogValue {
    /// Text.
    Text(String),
    /// A list.
    List(Vec<LogValue>),
    /// Names and values.
    Map(Vec<(String, LogValue)>),
}

/// Which requests are written down: those for which all that is set holds.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    /// The lowest status. Envoy: `status_code_filter`, `GE`.
    pub status_from: Option<u32>,
    /// The highest status. Envoy: `status_code_filter`, `LE`.
    pub status_to: Option<u32>,
    /// It took as long or longer, to the millisecond. Envoy: `duration_filter`, `GE`.
    pub at_least: Option<Duration>,
    /// It took less, to the millisecond. Envoy: `duration_filter`, `LE`.
    pub shorter_than: Option<Duration>,
    /// It has any of these response flags. Empty: with or without. Envoy: `response_flag_filter`.
    pub flags: Vec<String>,
    /// It has a response flag, whichever. Envoy: the same, without flags.
    pub any_flag: bool,
    /// A header of the request.
    pub header: Option<HeaderMatch>,
    /// An expression in CEL that is true. Envoy: `envoy.access_loggers.extension_filters.cel`.
    pub expression: Option<String>,
    /// Which share of them. Drawn from the request's id, so that all proxies on a request's way
    /// agree, to a ten-thousandth. Envoy: `runtime_filter`.
    pub sample: Percent,
}

impl Default for LogFilter {
    /// Every request.
    fn default() -> Self {
        Self {
            status_from: None,
            status_to: None,
            at_least: None,
            shorter_than: None,
            flags: Vec::new(),
            any_flag: false,
            header: None,
            expression: None,
            sample: Percent::HUNDRED,
        }
    }
}

/// Somewhere to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Unique within the proxy.
    pub name: String,
    /// How its endpoints are known.
    pub kind: ClusterKind,
    /// Whether endpoints speak HTTP/2 (also gRPC) rather than HTTP/1.1. No effect on TCP.
    pub http2: bool,
}

/// How the endpoints of a cluster are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterKind {
    /// The application beside the proxy; part of the cluster itself.
    Local {
        /// IP address of the application.
        address: String,
        /// Its port.
        port: u16,
    },
    /// Other proxies, delivered apart from the cluster (EDS) since they come and go. None is legal:
    /// requests are then answered with 503.
    Eds {
        /// In any order; the translation sorts them.
        endpoints: Vec<Endpoint>,
    },
}

/// One place where a service is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Zone it is in. Envoy counts cross-zone traffic if both sides have one.
    pub zone: Option<String>,
    /// IP address, v4 or v6.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// A name as Envoy may count under it. Envoy cuts statistics names at dots and its tag rules
/// would take parts of `shop.example.com` for something else, so everything but letters,
/// digits, `-` and `_` becomes `_`.
pub fn stat_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}
