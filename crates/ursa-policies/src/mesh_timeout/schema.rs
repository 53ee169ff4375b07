//! What users write in the `default` of each part of a MeshTimeout.

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_model::duration::Duration;

/// How long connections and requests may take.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-one-at-least" = ["connectionTimeout", "idleTimeout", "http"]))]
pub struct Conf {
    /// To open a connection to an endpoint, or to the application. More than 0. Unset: 10 s.
    pub connection_timeout: Option<Duration>,
    /// A connection without requests, or of bytes without any: of the client's and of those to endpoints. `0s`: for ever. Unset: 1 h; of
    /// connections that come in with HTTP 2 h.
    pub idle_timeout: Option<Duration>,
    /// Of HTTP, and so of gRPC.
    pub http: Http,
}

/// Timeouts of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-one-at-least" = ["requestTimeout", "streamIdleTimeout", "maxStreamDuration", "maxConnectionDuration", "requestHeadersTimeout"]))]
pub struct Http {
    /// From the end of a request to the end of its answer, all tries together. `0s`: for ever. Unset: for ever. Envoy: `timeout` of routes.
    pub request_timeout: Option<Duration>,
    /// A request or a stream without a byte in either direction. `0s`: for ever. Unset: 30 m of what goes out, 1 h of what comes in. Envoy:
    /// `idle_timeout` of routes.
    pub stream_idle_timeout: Option<Duration>,
    /// A request or a stream at all. `0s`: for ever. Unset: for ever. Envoy: `max_stream_duration` of clusters.
    pub max_stream_duration: Option<Duration>,
    /// A connection to an endpoint; when it is over no request is sent on it any more. `0s`: for ever. Unset: for ever. Envoy:
    /// `max_connection_duration` of clusters.
    pub max_connection_duration: Option<Duration>,
    /// Until all headers of a request are there, from its first byte on. `0s`: for ever. Unset: for ever. Envoy: `request_headers_timeout`.
    pub request_headers_timeout: Option<Duration>,
}
