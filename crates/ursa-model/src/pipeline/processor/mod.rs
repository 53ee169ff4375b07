//! What changes telemetry on its way, in the order in which it is written.
//!
//! Each processor sees what those before it left. All of them act on single spans, data points and
//! log records; what decides over whole traces would stand between these and the queues.

mod filter;
mod span;
mod validate;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use filter::{
    AttributeMatch, Condition, Filter, MAX_REGEX_BYTES, Severity, SpanKind, SpanStatus, TextMatch,
};
pub use span::{BaggageAttributes, BaggageMember, EnvoyTags, SpanName};
pub use validate::validate_regex;

/// One step between receiver and queue; written as one field named after the kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Processor {
    /// Sets, fills in and removes attributes of resources.
    ResourceAttributes(ResourceAttributes),
    /// Gives a source's own attributes the names and types of OpenTelemetry's conventions.
    SemanticConventions(SemanticConventions),
    /// Gives spans of Envoy's attributes.
    EnvoyTags(EnvoyTags),
    /// Gives spans attributes from W3C Baggage.
    Baggage(BaggageAttributes),
    /// Names spans by their attributes.
    SpanName(SpanName),
    /// Keeps, removes, masks and hashes attributes.
    Attributes(AttributeRules),
    /// Takes credentials and query strings out of URLs. Without this processor it happens with its
    /// defaults, last of all.
    RedactUrls(RedactUrls),
    /// Drops what is not wanted, and counts it.
    Filter(Filter),
}

/// A kind of telemetry.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum SignalName {
    /// Spans.
    Traces,
    /// Metric data points.
    Metrics,
    /// Log records.
    Logs,
}

impl SignalName {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// Sets, fills in and removes attributes of resources. Removing comes first, then `set`, then `fill`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceAttributes {
    /// Replaces what the resource says under the same key. Values may hold `{{…}}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Added where the key is absent. Values may hold `{{…}}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fill: BTreeMap<String, String>,
    /// Keys that are taken off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Gives a source's own attributes the names and types of OpenTelemetry's semantic conventions, and
/// notes their version as `schema_url`. Spans that the source did not make stay as they are, and so
/// do metrics and logs. A name of the conventions that a span has already is never given twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SemanticConventions {
    /// Whose attributes are meant. Default `envoy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<ConventionSource>,
    /// Whether names such as `ingress` become `{method}`, `{method} {route}` or `{service}/{method}`
    /// where these are known. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_names: Option<bool>,
}

/// Who wrote the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConventionSource {
    /// Envoy's tracers: spans with `component: proxy`. `http.method` becomes `http.request.method`;
    /// what has no convention gets the prefix `envoy.`, for example `envoy.response_flags`.
    #[default]
    Envoy,
}

/// Keeps, removes, masks and hashes attributes by key: exact, `prefix*`, or `*` for all.
///
/// An attribute that `exclude` names, or that `include` does not name, is removed; one that `redact`
/// names becomes `REDACTED`; one that `hash` names becomes 16 hex digits of its value's SHA-256.
/// The first of these that applies is done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AttributeRules {
    /// Which attributes are meant. Default: those of spans, data points and log records, and of what
    /// these hold (events, links, exemplars); not those of resources and scopes.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<AttributePlace>>,
    /// All others are removed. Default: none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    /// These are removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The values of these become `REDACTED`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// The values of these become 16 hex digits of their SHA-256: equal values stay equal, on every
    /// host. It has no key, so whoever can guess a value can confirm it; `redact` what must stay
    /// secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hash: Vec<String>,
}

/// Whose attributes are meant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum AttributePlace {
    /// Those of the resource.
    Resource,
    /// Those of the instrumentation scope.
    Scope,
    /// Those of spans, of their events and of their links.
    Span,
    /// Those of metric data points and of their exemplars.
    Metric,
    /// Those of log records.
    Log,
}

impl AttributePlace {
    /// Every place but the resource and the scope.
    pub const ITEMS: [Self; 3] = [Self::Span, Self::Metric, Self::Log];
}

/// Takes credentials, query strings and fragments out of URLs of spans, data points and log records:
/// wherever `scheme://` is in a text, in a list of texts, in a span's name or status, or in a log's
/// body that is a text; in `http.url`, `http.target`, `http.path`, `url.full`, `url.original`,
/// `url.path`, `peer.address` whatever they begin with; in `url.query`, `url.fragment`,
/// `http.query.string`, `http.fragment.string`; in paths that are words of a span's name. A URL within
/// a longer text ends before a blank, `"`, `` ` ``, `<` or `>`; another one may begin before its query.
/// Of spans that stay in a form of their own, annotations (Zipkin), `span_links` and `span_events`
/// (Datadog) as well. Maps, names of events, `meta_struct` (Datadog), paths without a scheme in other
/// texts (`GET /p?a=1`), and attributes of resources and scopes stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RedactUrls {
    /// What becomes of the query string, with the fragment after it. Default `redact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryRedaction>,
    /// Whether `user:password@` becomes `REDACTED:REDACTED@`. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<bool>,
    /// Further attributes that hold URLs which may begin without a scheme.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// What becomes of a query string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum QueryRedaction {
    /// `?a=1&b=2` becomes `?REDACTED`.
    #[default]
    Redact,
    /// `?a=1&b=2` becomes `?a=REDACTED&b=REDACTED`.
    Values,
    /// It stays.
    Keep,
}
