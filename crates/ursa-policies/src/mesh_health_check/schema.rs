//! What users write in the `default` of each item of a MeshHealthCheck's `to`.

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_model::duration::Duration;
use ursa_model::percent::Percent;

/// How endpoints are asked whether they are well.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-also" = [{"anyOf": [
    {"required": ["tcp"], "properties": {"tcp": {"type": "object"}}},
    {"required": ["http"], "properties": {"http": {"type": "object"}}},
    {"required": ["grpc"], "properties": {"grpc": {"type": "object"}}},
]}]))]
pub struct Conf {
    /// How often an endpoint is asked. More than 0. Unset: 1 m.
    pub interval: Option<Duration>,
    /// How often one that is unwell. More than 0. Unset: as `interval`.
    pub unhealthy_interval: Option<Duration>,
    /// How often where no request has gone to the service yet; it wins over the others. More than 0. Unset: 60 s.
    pub no_traffic_interval: Option<Duration>,
    /// How long an answer may take. More than 0. Unset: 15 s.
    pub timeout: Option<Duration>,
    /// How many failures in a row make an endpoint unwell. Unset: 5. A status that is not expected makes it so at once.
    #[schemars(range(min = 1))]
    pub unhealthy_threshold: Option<u32>,
    /// How many successes in a row make it well again. Unset: 1. The first success after the start counts at once.
    #[schemars(range(min = 1))]
    pub healthy_threshold: Option<u32>,
    /// Up to how much later the first question comes, by chance. More than 0.
    pub initial_jitter: Option<Duration>,
    /// Up to how much later each comes, by chance. More than 0.
    pub interval_jitter: Option<Duration>,
    /// The same in percent of the interval; both add up.
    #[schemars(range(max = 100))]
    pub interval_jitter_percent: Option<u32>,
    /// With which share of healthy endpoints or less all are used. Percent. Unset: 50. A MeshCircuitBreaker's wins.
    pub healthy_panic_threshold: Option<Percent>,
    /// Whether requests are then refused instead. Unset: false.
    pub fail_traffic_on_panic: Option<bool>,
    /// A file beside the proxy that Envoy writes changes to. Absolute path.
    pub event_log_path: Option<String>,
    /// Whether each failure is written there, and not only the first. Unset: false.
    pub always_log_health_check_failures: Option<bool>,
    /// Whether one connection serves all questions. Unset: true.
    pub reuse_connection: Option<bool>,
    /// Endpoints of bytes, and others where theirs is not given or disabled.
    pub tcp: Option<Tcp>,
    /// Endpoints of HTTP, also of HTTP/2.
    pub http: Option<Http>,
    /// Endpoints of gRPC.
    pub grpc: Option<Grpc>,
}

/// A connection, and bytes if any are given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tcp {
    /// Whether it is not asked so. Unset: false.
    pub disabled: Option<bool>,
    /// What is sent, in Base64. Unset: nothing, a connection is enough.
    pub send: Option<String>,
    /// What must come, in Base64: each of these, in this order, with anything between.
    pub receive: Option<Vec<String>>,
}

/// A request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Http {
    /// Whether it is not asked so. Unset: false.
    pub disabled: Option<bool>,
    /// Its path. Unset: `/`.
    #[schemars(length(min = 1))]
    pub path: Option<String>,
    /// Headers that it has.
    pub request_headers_to_add: Option<Headers>,
    /// The statuses that are right. Unset: 200.
    #[schemars(inner(range(min = 100, max = 599)))]
    pub expected_statuses: Option<Vec<u16>>,
}

/// gRPC's own question (`grpc.health.v1.Health`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Grpc {
    /// Whether it is not asked so. Unset: false.
    pub disabled: Option<bool>,
    /// The service that is asked for. Unset: all of the server.
    pub service_name: Option<String>,
    /// The authority. Unset: the service's name in the mesh.
    pub authority: Option<String>,
}

/// Headers of a request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Those that it has instead of Envoy's own.
    #[schemars(length(max = 16))]
    pub set: Option<Vec<Header>>,
    /// Those that it has besides.
    #[schemars(length(max = 16))]
    pub add: Option<Vec<Header>>,
}

/// A header.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}
