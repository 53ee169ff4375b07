//! Which requests go where.

use std::time::Duration;

use serde::Serialize;
use ursa_model::percent::Percent;

use super::retry::Retry;

/// The routes of one listener.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfig {
    /// Unique within the proxy; the RDS resource's name.
    pub name: String,
    /// Tried in order; the first match wins.
    pub routes: Vec<Route>,
}

/// What becomes of matching requests, and how they are traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The MeshHTTPRoute that it comes from. Unset: from none.
    pub origin: Option<String>,
    /// Under which name Envoy counts its requests; made legal by [`super::stat_name`].
    pub counted_as: String,
    /// Which requests it takes.
    pub requests: RequestMatch,
    /// What becomes of them.
    pub action: RouteAction,
    /// How long they may take.
    pub timeouts: RouteTimeouts,
    /// When they are tried again. Unset: never.
    pub retry: Option<Retry>,
    /// Sampling and tags. On the route, so that changing them drains no connection.
    pub tracing: RouteTracing,
    /// What says so, if it is a decision about some requests. It reaches nobody.
    pub decided_by: Option<Decider>,
}

/// What decides about whether some requests are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Decider {
    /// The rule of `sampling.rules` with this number, from 0.
    Rule(usize),
    /// Probes and scrapes are not traced, unless `sampling.traceProbes` says so.
    Probe,
    /// The caller is traced, and `sampling.parent` keeps to it.
    Parent,
}

impl Route {
    /// All requests go to one cluster, and are counted under its name.
    pub fn to(cluster: impl Into<String>) -> Self {
        let cluster = cluster.into();
        Self {
            origin: None,
            counted_as: cluster.clone(),
            requests: RequestMatch::default(),
            action: RouteAction::Forward(Forward::to(cluster)),
            timeouts: RouteTimeouts::default(),
            retry: None,
            tracing: RouteTracing::off(),
            decided_by: None,
        }
    }

    /// Whether the prefix of the path that it asks for becomes another.
    pub(super) fn replaces_prefix(&self) -> bool {
        let path = match &self.action {
            RouteAction::Forward(forward) => forward.path.as_ref(),
            RouteAction::Redirect(redirect) => redirect.path.as_ref(),
            RouteAction::Respond { .. } => None,
        };
        matches!(path, Some(PathRewrite::Prefix(_)))
    }

    /// The clusters that requests may go to, mirrors not among them.
    pub fn clusters(&self) -> impl Iterator<Item = &str> {
        let forward = match &self.action {
            RouteAction::Forward(forward) => Some(forward),
            RouteAction::Redirect(_) | RouteAction::Respond { .. } => None,
        };
        forward.into_iter().flat_map(|it| &it.clusters).map(|cluster| cluster.name.as_str())
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteAction {
    /// It goes to a cluster.
    Forward(Box<Forward>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered at once.
    Respond {
        /// The answer's status.
        status: u16,
    },
}

/// Where a request goes, and how it is changed on the way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forward {
    /// One of these by weight; one at least. All weights zero: 500.
    pub clusters: Vec<WeightedCluster>,
    /// Where copies go; what they answer is dropped.
    pub mirrors: Vec<Mirror>,
    /// Its path, instead of the caller's.
    pub path: Option<PathRewrite>,
    /// Its host, instead of the caller's.
    pub host: Option<HostRewrite>,
    /// Headers of the request.
    pub request_headers: HeaderChanges,
    /// Headers of the answer.
    pub response_headers: HeaderChanges,
}

impl Forward {
    /// To one cluster, unchanged.
    pub fn to(cluster: impl Into<String>) -> Box<Self> {
        let clusters = vec![WeightedCluster { name: cluster.into(), weight: 1 }];
        Box::new(Self { clusters, ..Self::default() })
    }
}

/// A cluster and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedCluster {
    /// Its name.
    pub name: String,
    /// Its share, beside the others' weights.
    pub weight: u32,
}

/// Where copies of requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster.
    pub cluster: String,
    /// Of which share of requests.
    pub share: Percent,
}

/// Another path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// This one, whatever was asked for.
    Full(String),
    /// The prefix or segments that matched become this.
    Prefix(String),
}

/// Another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// This one.
    Literal(String),
    /// The name of the endpoint that is chosen.
    Endpoint,
}

/// The client is sent elsewhere. What is unset stays as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Changes of headers: those in `remove` go first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderChanges {
    /// Name and value, instead of what is there.
    pub set: Vec<(String, String)>,
    /// Name and value, beside what is there.
    pub add: Vec<(String, String)>,
    /// Names.
    pub remove: Vec<String>,
}

impl HeaderChanges {
    /// None.
    pub const NONE: Self = Self { set: Vec::new(), add: Vec::new(), remove: Vec::new() };
}

/// How long requests of a route may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteTimeouts {
    /// From the end of the request to the end of the answer, all tries together. Unset: as long as they like. Envoy: `timeout`.
    pub request: Option<Duration>,
    /// Without a byte in either direction. Unset: as the listener says. Envoy: `idle_timeout`.
    pub stream_idle: Option<Duration>,
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
    /// Parameters of the query, all of them.
    pub query: Vec<QueryMatch>,
}

/// A parameter of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// Its name; case counts.
    pub name: String,
    /// What is asked of it.
    pub value: QueryValue,
}

/// What is asked of a parameter of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryValue {
    /// Its value is this.
    Exact(String),
    /// Its whole value matches this expression (RE2).
    Regex(String),
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
