//! Where a proxy sends to: endpoints, and how it treats them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ursa_model::dataplane::Protocol;
use ursa_model::percent::Percent;

/// How long a connection may take to open where nobody says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Somewhere to send to.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Unique within the proxy.
    pub name: String,
    /// The service that its endpoints serve (`kuma.io/service`). Policies choose by it; it reaches nobody.
    pub destination: String,
    /// How its endpoints are known.
    pub kind: ClusterKind,
    /// What its endpoints speak.
    pub protocol: Protocol,
    /// Sets of tags: Envoy gets to know which endpoints have all of one. Told by EDS, so that a change drains nothing.
    pub tag_sets: BTreeSet<BTreeMap<String, String>>,
    /// TLS to its endpoints. Unset: none.
    pub tls: Option<UpstreamTls>,
    /// How long its connections may take.
    pub timeouts: ClusterTimeouts,
    /// How much may be under way at once.
    pub limits: ConnectionLimits,
    /// When an endpoint that fails is left out for a while. Unset: never.
    pub outliers: Option<OutlierDetection>,
    /// How endpoints are asked whether they are well. Unset: they are not.
    pub health: Option<HealthChecks>,
    /// Below which share of healthy endpoints all of them are used. Envoy: `healthy_panic_threshold`, default 50 %.
    pub healthy_panic_threshold: Option<Percent>,
    /// Whether nothing is sent rather than to all endpoints, below that. Envoy: `fail_traffic_on_panic`.
    pub fail_traffic_on_panic: bool,
}

impl Cluster {
    /// A cluster without TLS, limits other than Envoy's own, and checks.
    pub fn new(
        name: impl Into<String>,
        destination: impl Into<String>,
        kind: ClusterKind,
        protocol: Protocol,
    ) -> Self {
        Self {
            name: name.into(),
            destination: destination.into(),
            kind,
            protocol,
            tag_sets: BTreeSet::new(),
            tls: None,
            timeouts: ClusterTimeouts::default(),
            limits: ConnectionLimits::default(),
            outliers: None,
            health: None,
            healthy_panic_threshold: None,
            fail_traffic_on_panic: false,
        }
    }

    /// Whether its endpoints speak HTTP/2, as they do for gRPC, rather than HTTP/1.1.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.protocol, Protocol::Http2 | Protocol::Grpc)
    }
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
    /// Its tags; see [`Cluster::tag_sets`].
    pub tags: BTreeMap<String, String>,
}

/// TLS to endpoints, with the proxy's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The server name that is asked for. Envoy: `sni`.
    pub sni: String,
    /// Whose certificates are accepted: the services of the mesh by these names. Empty: every service of the mesh.
    pub services: Vec<String>,
}

/// How long connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterTimeouts {
    /// To open one. Envoy: `connect_timeout`.
    pub connect: Duration,
    /// Without a request. Unset: Envoy's hour. Of HTTP only. Envoy: `idle_timeout`.
    pub idle: Option<Duration>,
    /// At all. Of HTTP only. Envoy: `max_connection_duration`.
    pub max_connection_duration: Option<Duration>,
    /// For one request and its answer. Of HTTP only. Envoy: `max_stream_duration`.
    pub max_stream_duration: Option<Duration>,
}

impl Default for ClusterTimeouts {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            idle: None,
            max_connection_duration: None,
            max_stream_duration: None,
        }
    }
}

/// How much may be under way at once. Unset: Envoy's own (1,024; of retries 3). Envoy: `circuit_breakers.thresholds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionLimits {
    /// Connections.
    pub connections: Option<u32>,
    /// Connection pools.
    pub connection_pools: Option<u32>,
    /// Requests that wait for a connection.
    pub pending_requests: Option<u32>,
    /// Requests.
    pub requests: Option<u32>,
    /// Retries.
    pub retries: Option<u32>,
}

/// When an endpoint that fails is left out for a while. What is unset is Envoy's own, but for detectors: one that is unset detects nothing.
/// Envoy: `outlier_detection`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutlierDetection {
    /// How often it is looked. Envoy: 10 s.
    pub interval: Option<Duration>,
    /// How long an endpoint is left out, times how often it was. Envoy: 30 s.
    pub base_ejection_time: Option<Duration>,
    /// Which share of endpoints is left out at most. Envoy: 10 %.
    pub max_ejection_percent: Option<u32>,
    /// Whether failures to reach an endpoint are told from what it answers.
    pub split_external_and_local_errors: bool,
    /// Answers in a row with a status from 500 on.
    pub total_failures: Option<u32>,
    /// Answers in a row with status 502, 503 or 504.
    pub gateway_failures: Option<u32>,
    /// Failures in a row to reach it, told apart by `split_external_and_local_errors`.
    pub local_origin_failures: Option<u32>,
    /// It succeeds much less often than others.
    pub success_rate: Option<SuccessRate>,
    /// It fails too often.
    pub failure_percentage: Option<FailurePercentage>,
}

/// It succeeds much less often than others. What is unset is Envoy's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SuccessRate {
    /// From how many endpoints on it is compared. Envoy: 5.
    pub minimum_hosts: Option<u32>,
    /// Of endpoints with so many requests in an interval. Envoy: 100.
    pub request_volume: Option<u32>,
    /// How many thousandths of a standard deviation below the mean are too few. Envoy: 1,900.
    pub standard_deviation_thousandths: Option<u32>,
}

/// It fails too often. What is unset is Envoy's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailurePercentage {
    /// From how many endpoints on it is judged. Envoy: 5.
    pub minimum_hosts: Option<u32>,
    /// Of endpoints with so many requests in an interval. Envoy: 50.
    pub request_volume: Option<u32>,
    /// Which percentage of failures is too many. Envoy: 85.
    pub threshold: Option<u32>,
}

/// How endpoints are asked whether they are well. Envoy: `health_checks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChecks {
    /// How often.
    pub interval: Duration,
    /// How often one that is unwell. Unset: the same.
    pub unhealthy_interval: Option<Duration>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many failures in a row make it unwell.
    pub unhealthy_threshold: u32,
    /// How many successes in a row make it well.
    pub healthy_threshold: u32,
    /// Up to how much later the first is asked.
    pub initial_jitter: Option<Duration>,
    /// Up to how much later each is asked.
    pub interval_jitter: Option<Duration>,
    /// The same in percent of the interval.
    pub interval_jitter_percent: Option<u32>,
    /// How often where nothing was ever sent to the cluster. Envoy: 60 s.
    pub no_traffic_interval: Option<Duration>,
    /// A file that Envoy writes events to.
    pub event_log_path: Option<String>,
    /// Whether each failure is written there, not only the first.
    pub always_log_failures: bool,
    /// Whether one connection serves all checks. Envoy: yes.
    pub reuse_connection: Option<bool>,
    /// What is asked.
    pub check: HealthCheck,
}

/// What an endpoint is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// A connection, and if so said, bytes.
    Tcp {
        /// What is sent. Unset: nothing.
        send: Option<Vec<u8>>,
        /// What must come, in this order, with anything between.
        receive: Vec<Vec<u8>>,
    },
    /// A request.
    Http {
        /// Its path.
        path: String,
        /// Headers that are added.
        headers: super::route::HeaderChanges,
        /// Statuses that are right. Empty: 200.
        expected_statuses: Vec<u16>,
    },
    /// gRPC's own health service.
    Grpc {
        /// The service that is asked for.
        service_name: String,
        /// The authority. Unset: the cluster's name.
        authority: Option<String>,
    },
}
