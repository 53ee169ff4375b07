//! What users write in the `default` of each item of a MeshRetry's `to`.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value as Json;
use ursa_model::duration::Duration;

use super::conditions::{Condition, GRPC, HTTP, METHODS};
use crate::header::HeaderMatch;

/// What is tried again. Of `http` and `grpc` the one holds that the destination speaks.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-one-at-least" = ["tcp", "http", "grpc"]))]
pub struct Conf {
    /// Connections of bytes.
    pub tcp: Option<Tcp>,
    /// Requests of HTTP, also of HTTP/2.
    pub http: Option<Http>,
    /// Calls of gRPC.
    pub grpc: Option<Grpc>,
}

/// Connections of bytes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tcp {
    /// How often it is tried to connect at most, the first time among them.
    #[schemars(range(min = 1))]
    pub max_connect_attempt: u32,
}

/// Requests of HTTP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-one-at-least" = ["numRetries", "perTryTimeout", "backOff", "rateLimitedBackOff", "retryOn", "retriableResponseHeaders", "retriableRequestHeaders", "hostSelection", "hostSelectionMaxAttempts"]))]
pub struct Http {
    /// How often a request is tried again at most. 0: never. Unset: 1.
    pub num_retries: Option<u32>,
    /// How long each try may take. `0s`: as long as the request. Unset: as long as the request.
    pub per_try_timeout: Option<Duration>,
    /// How long to wait before a try.
    pub back_off: Option<BackOff>,
    /// How long to wait before a try where an answer says so.
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// What is tried again: conditions, statuses, and methods, if only those. Unset: `GatewayError`, `ConnectFailure`, `RefusedStream`; these too
    /// where only statuses or methods are named.
    pub retry_on: Option<Vec<HttpCondition>>,
    /// Answers with any of these headers are tried again.
    pub retriable_response_headers: Option<Vec<HeaderMatch>>,
    /// Only requests with any of these headers are tried again; a method counts as one.
    pub retriable_request_headers: Option<Vec<HeaderMatch>>,
    /// Which endpoints are passed over.
    pub host_selection: Option<Vec<Predicate>>,
    /// How often another endpoint is looked for, before whatever was found is taken. Unset: 1.
    #[schemars(range(min = 1))]
    pub host_selection_max_attempts: Option<u32>,
}

/// Calls of gRPC.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-one-at-least" = ["numRetries", "perTryTimeout", "backOff", "rateLimitedBackOff", "retryOn"]))]
pub struct Grpc {
    /// How often a call is tried again at most. 0: never. Unset: 1.
    pub num_retries: Option<u32>,
    /// How long each try may take. `0s`: as long as the call. Unset: as long as the call.
    pub per_try_timeout: Option<Duration>,
    /// How long to wait before a try.
    pub back_off: Option<BackOff>,
    /// How long to wait before a try where an answer says so.
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// Which statuses of gRPC are tried again. Unset: `Canceled`, `ResourceExhausted`, `Unavailable`, and what fails before an answer.
    pub retry_on: Option<Vec<GrpcCondition>>,
}

/// How long to wait before a try: twice as long each time, and somewhere between nothing and that.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["baseInterval", "maxInterval"]))]
pub struct BackOff {
    /// At first. More than 0. Unset: 25 ms.
    pub base_interval: Option<Duration>,
    /// At most. Not below `baseInterval`. Unset: ten times that.
    pub max_interval: Option<Duration>,
}

/// How long to wait before a try where an answer says so.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitedBackOff {
    /// The answer's headers that say so. The first that can be read counts; where none can, `backOff` holds.
    #[schemars(length(min = 1))]
    pub reset_headers: Vec<ResetHeader>,
    /// At most. More than 0. Unset: 300 s.
    pub max_interval: Option<Duration>,
}

/// A header that says when to try again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResetHeader {
    /// Its name, like `retry-after`.
    pub name: String,
    /// What its value is.
    pub format: ResetFormat,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ResetFormat {
    /// A number of seconds.
    Seconds,
    /// A point in time, as seconds since 1970.
    UnixTimestamp,
}

/// Endpoints that are passed over.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [{
    "if": {"properties": {"predicate": {"const": "OmitHostsWithTags"}}},
    "then": {"required": ["tags"], "properties": {"tags": {"type": "object", "minProperties": 1}}},
}]))]
pub struct Predicate {
    /// Which.
    pub predicate: PredicateType,
    /// With `OmitHostsWithTags`: the tags, all of them.
    pub tags: Option<BTreeMap<String, String>>,
    /// With `OmitPreviousPriorities`: after how many tries priorities are looked at anew. Unset: 2.
    #[schemars(range(min = 1))]
    pub update_frequency: Option<u32>,
}

/// Which endpoints are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PredicateType {
    /// Those that were tried.
    OmitPreviousHosts,
    /// Those with all of some tags.
    OmitHostsWithTags,
    /// Those of a priority that was tried.
    OmitPreviousPriorities,
}

/// A condition of HTTP, a method or a status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HttpCondition(pub String);

/// A condition of gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GrpcCondition(pub String);

impl JsonSchema for HttpCondition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HttpCondition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<_> = HTTP.into_iter().chain(METHODS).collect();
        let listed: Vec<_> = words.iter().map(|(name, _)| format!("`{name}`")).collect();
        let mut any = spellings(&words);
        any.push(json_schema!({"type": "string", "pattern": "^[1-5][0-9][0-9]$"}).into());
        any.push(json_schema!({"type": "integer", "minimum": 100, "maximum": 599}).into());
        json_schema!({
            "description": format!("{}, or a status.", listed.join(", ")),
            "type": "string",
            "x-published": {"anyOf": any},
        })
    }
}

impl JsonSchema for GrpcCondition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GrpcCondition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let listed: Vec<_> = GRPC.iter().map(|(name, _)| format!("`{name}`")).collect();
        json_schema!({
            "description": format!("{}.", listed.join(", ")),
            "type": "string",
            "x-published": {"anyOf": spellings(&GRPC)},
        })
    }
}

/// The words, and a pattern for other ways to write them.
fn spellings(words: &[Condition]) -> Vec<Json> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    let other = |text: &str| {
        let letters = text.chars().filter(|c| *c != '-').map(|c| match c {
            c if c.is_ascii_alphabetic() => {
                format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase())
            }
            c => c.to_string(),
        });
        letters.collect::<Vec<_>>().join("[-_]*")
    };
    let mut others: Vec<_> = words.iter().map(|(name, _)| other(name)).collect();
    let of_envoy = words
        .iter()
        .filter(|(name, envoy)| envoy.contains(char::is_lowercase) && other(name) != other(envoy));
    others.extend(of_envoy.map(|(_, envoy)| other(envoy)));
    vec![
        json_schema!({ "type": "string", "enum": names }).into(),
        json_schema!({"type": "string", "pattern": format!("^({})$", others.join("|"))}).into(),
    ]
}
