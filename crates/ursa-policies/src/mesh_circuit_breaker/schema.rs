//! What users write in the `default` of each part of a MeshCircuitBreaker.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use ursa_model::duration::Duration;
use ursa_model::percent::Percent;

/// When a service is spared.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-also" = [{"anyOf": [
    {"required": ["connectionLimits"], "properties": {"connectionLimits": {"type": "object"}}},
    {"required": ["outlierDetection"], "properties": {"outlierDetection": {"type": "object"}}},
]}]))]
pub struct Conf {
    /// How much may be under way at once; what is more is turned away.
    pub connection_limits: Option<ConnectionLimits>,
    /// When an endpoint that fails is left out for a while.
    pub outlier_detection: Option<OutlierDetection>,
}

/// How much may be under way at once, of one proxy to one service.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionLimits {
    /// Connections. Unset: 1024.
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// Connection pools. Unset: without limit.
    #[schemars(range(min = 1))]
    pub max_connection_pools: Option<u32>,
    /// Requests that wait for a connection; of what is not HTTP, connections. Unset: 1024.
    #[schemars(range(min = 1))]
    pub max_pending_requests: Option<u32>,
    /// Retries. Unset: 3.
    #[schemars(range(min = 1))]
    pub max_retries: Option<u32>,
    /// Requests. Unset: 1024.
    #[schemars(range(min = 1))]
    pub max_requests: Option<u32>,
}

/// When an endpoint that fails is left out for a while.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-also" = [{"anyOf": [
    {"required": ["detectors"], "properties": {"detectors": {"type": "object"}}},
    {"required": ["disabled"], "properties": {"disabled": {"const": true}}},
    {"required": ["healthyPanicThreshold"], "properties": {"healthyPanicThreshold": {"not": {"type": "null"}}}},
]}]))]
pub struct OutlierDetection {
    /// Whether all of this does nothing. Unset: false.
    pub disabled: Option<bool>,
    /// How often it is looked, and endpoints come back. More than 0. Unset: 10 s.
    pub interval: Option<Duration>,
    /// How long an endpoint is left out, times how often it was. More than 0. Unset: 30 s.
    pub base_ejection_time: Option<Duration>,
    /// Which percentage of endpoints is left out at most; one may always be. Unset: 10.
    #[schemars(range(max = 100))]
    pub max_ejection_percent: Option<u32>,
    /// Whether failures to reach an endpoint are told from what it answers; `localOriginFailures` needs it. Unset: false.
    pub split_external_and_local_errors: Option<bool>,
    /// What is a failure. Needed unless it is disabled, or says only when all are used.
    pub detectors: Option<Detectors>,
    /// With which share of healthy endpoints or less all are used. 0: never. Percent. Unset: 50.
    pub healthy_panic_threshold: Option<Percent>,
}

/// What is a failure.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-also" = [{"anyOf": [
    {"required": ["totalFailures"], "properties": {"totalFailures": {"type": "object"}}},
    {"required": ["gatewayFailures"], "properties": {"gatewayFailures": {"type": "object"}}},
    {"required": ["localOriginFailures"], "properties": {"localOriginFailures": {"type": "object"}}},
    {"required": ["successRate"], "properties": {"successRate": {"type": "object"}}},
    {"required": ["failurePercentage"], "properties": {"failurePercentage": {"type": "object"}}},
]}]))]
pub struct Detectors {
    /// Answers with a status from 500 on, or connections that fail, in a row.
    pub total_failures: Option<Consecutive>,
    /// Answers with status 502, 503 or 504, in a row.
    pub gateway_failures: Option<Consecutive>,
    /// Timeouts, resets and the like, in a row. With `splitExternalAndLocalErrors` only.
    pub local_origin_failures: Option<Consecutive>,
    /// An endpoint succeeds much less often than others.
    pub success_rate: Option<SuccessRate>,
    /// An endpoint fails too often.
    pub failure_percentage: Option<FailurePercentage>,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Consecutive {
    /// How many. Unset: nothing is detected.
    #[schemars(range(min = 1))]
    pub consecutive: Option<u32>,
}

/// An endpoint succeeds much less often than others.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessRate {
    /// From how many endpoints on they are compared. Unset: 5.
    #[schemars(range(min = 1))]
    pub minimum_hosts: Option<u32>,
    /// How many requests an endpoint must have had in an interval. Unset: 100.
    #[schemars(range(min = 1))]
    pub request_volume: Option<u32>,
    /// How many standard deviations below the mean are too few. More than 0; a number or a decimal text. Unset: 1.9.
    pub standard_deviation_factor: Option<Factor>,
}

/// An endpoint fails too often.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailurePercentage {
    /// From how many endpoints on they are judged. Unset: 5.
    #[schemars(range(min = 1))]
    pub minimum_hosts: Option<u32>,
    /// How many requests an endpoint must have had in an interval. Unset: 50.
    #[schemars(range(min = 1))]
    pub request_volume: Option<u32>,
    /// Which percentage of failures is too many. Unset: 85.
    #[schemars(range(max = 100))]
    pub threshold: Option<u32>,
}

/// A number with three decimals, more than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// As Envoy takes it.
    pub thousandths: u32,
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Json::deserialize(deserializer)?;
        let number = written.as_f64().or_else(|| written.as_str()?.parse().ok());
        let thousandths = number.map(|number| (number * 1000.0).round());
        let range = 1.0..=f64::from(u32::MAX);
        let thousandths = thousandths.filter(|it| range.contains(it)).ok_or_else(|| {
            D::Error::custom("must be a number of more than 0, with three decimals at most")
        })?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in the range of the type after the check above"
        )]
        let thousandths = thousandths as u32;
        Ok(Self { thousandths })
    }
}

impl JsonSchema for Factor {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of more than 0, or a decimal text.",
            "type": ["number", "string"],
            "x-published": {"anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": "^[0-9]*\\.?[0-9]+$"},
            ]},
        })
    }
}
