//! What users write below `spec.default` of a MeshTrace.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_model::backend::BackendRef;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::percent::Percent;

use crate::header::HeaderMatch;

/// How a proxy's requests are traced.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Where spans go; required, at most one. `[]` switches tracing off. Also written `backend: {…}`.
    #[schemars(length(max = 1))]
    pub backends: Option<Vec<Backend>>,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// Formats of the trace context in requests. On the way in the first that is there and valid counts, on the way out all are written;
    /// headers of others pass as they are, but for `traceparent` and `tracestate`, which are removed if `w3c_tracecontext` is not listed. Each
    /// once. Unset: `w3c_tracecontext, w3c_baggage`, and after them `b3multi` where a backend is Zipkin's, `datadog` where one is Datadog's.
    pub propagators: Option<Vec<Propagator>>,
    /// Whether headers of formats that `propagators` does not list are removed from requests, `baggage` too. Unset: false.
    pub strip_unlisted: Option<bool>,
    /// Attributes of the resource that spans come from; they win over those of the backend. Values may hold `{{…}}`.
    pub resource_attributes: BTreeMap<String, String>,
    /// What becomes of requests' W3C Baggage. Unset: it passes as it is.
    pub baggage: BaggageRules,
    /// What is written on each span besides what the tracer writes. Unset: nothing.
    pub tags: Option<Vec<Tag>>,
    /// Further backends that get the same spans, for example while moving from one to another. A resource that is in `backends` too gets them once.
    pub additional_backends: Option<Vec<Backend>>,
    /// What spans are called, for example `{{http.request.method}} {{tenant | default "nobody"}}`: references are span attributes as they leave, and
    /// `{{name}}` is the name that the span would have. A span without one of them has that name. Unset: `{method} {route}`, else `{method}`.
    pub span_name: Option<String>,
    /// How spans name what they say. Unset: `openTelemetry`.
    pub semantic_conventions: Option<SemanticConventions>,
}

/// A place that spans go to: exactly one of `openTelemetry`, `zipkin`, `datadog`, `reference`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["openTelemetry", "zipkin", "datadog", "reference"]))]
pub struct Backend {
    /// A MeshTraceBackend; a MeshOpenTelemetryBackend is the same as `openTelemetry.backendRef`.
    pub reference: Option<BackendRef>,
    /// The backend, written here as a MeshTraceBackend writes it.
    #[serde(flatten)]
    pub inline: MeshTraceBackend,
}

/// Shares of requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sampling {
    /// Bounds the others. Percent, 0 to 100, four decimals. Unset: 100. Envoy: `overall_sampling`.
    pub overall: Option<Percent>,
    /// Of requests whose caller asks for a trace by `x-client-trace-id`. Percent. Unset: 100. Envoy: `client_sampling`.
    pub client: Option<Percent>,
    /// Of all other requests. It decides where a trace begins; the proxies after that follow. Percent. Unset: 100. Envoy: `random_sampling`.
    pub random: Option<Percent>,
    /// Keeping the decision of the caller, whatever the shares say, in whichever of the `propagators` it comes.
    pub parent: Option<ParentBased>,
    /// Shares that follow the traffic.
    pub adaptive: Option<Adaptive>,
    /// What decides before the shares, the first that matches.
    pub rules: Option<Vec<Rule>>,
    /// Whether probes are traced: requests for `/healthz`, `/livez`, `/readyz`, `/metrics` and gRPC's health service, and all of the
    /// kubelet. A rule that matches decides before. Unset: false.
    pub trace_probes: Option<bool>,
}

/// Sampling that keeps the decision of the caller.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentBased {
    /// Whether it does. Unset: false, Envoy's own rule.
    pub enabled: Option<bool>,
    /// The share of requests without a caller's decision; instead of `random`. Percent. Unset: `random`.
    pub fallback: Option<Percent>,
}

/// Sampling with a target.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adaptive {
    /// How many traces a second are wanted of each service where requests enter. More than 0.
    pub traces_per_second: f64,
}

/// A decision for some requests: exactly one of `random`, `overall` and `off`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [{"allOf": [{"oneOf": [
    {"required": ["random"], "properties": {"random": {"not": {"type": "null"}}}},
    {"required": ["overall"], "properties": {"overall": {"not": {"type": "null"}}}},
    {"required": ["off"], "properties": {"off": {"const": true}}},
]}]}]))]
pub struct Rule {
    /// Which requests. All that is given must match.
    pub r#match: RequestMatch,
    /// Their share instead of the policy's `random`. Percent.
    pub random: Option<Percent>,
    /// Their bound instead of the policy's `overall`. Percent.
    pub overall: Option<Percent>,
    /// `true`: none of these requests gets a span, though its context travels on.
    pub off: Option<bool>,
}

/// Requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["path", "method", "headers"]))]
pub struct RequestMatch {
    /// The path.
    pub path: Option<PathMatch>,
    /// The method, like `GET`.
    pub method: Option<String>,
    /// Headers, all of them.
    pub headers: Option<Vec<HeaderMatch>>,
}

/// A path of requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// How `value` is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// What the path is compared with.
    pub value: String,
}

impl PathMatch {
    /// Whether `value` is a path, and not an expression.
    pub fn is_written_out(&self) -> bool {
        matches!(self.kind, PathMatchType::Exact | PathMatchType::PathPrefix)
    }
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Its first segments.
    PathPrefix,
    /// RE2, on the whole path.
    RegularExpression,
}

/// A format in which trace context travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-accepts" = [{"enum": ["tracecontext", "baggage"]}], "x-meant" = {
    "w3c_tracecontext": ["w3c", "tracecontext", "traceparent", "tracestate", "otel", "opentelemetry"],
    "w3c_baggage": ["baggage"],
    "b3": ["b3single", "b3_single_header"],
    "b3multi": ["zipkin", "istio", "b3_multi_header", "x-b3-traceid"],
    "datadog": ["dd", "x-datadog-trace-id"],
    "xray": ["aws", "awsxray", "amazon", "amzn", "x-amzn-trace-id"],
    "jaeger": ["uber", "uber-trace-id"],
}))]
pub enum Propagator {
    /// W3C Trace Context: `traceparent`, `tracestate`. Also written `tracecontext`.
    W3cTracecontext,
    /// W3C Baggage: `baggage`. Also written `baggage`.
    W3cBaggage,
    /// B3 in the single header `b3`.
    B3,
    /// B3 in a header for each part, `x-b3-…`.
    B3multi,
    /// Datadog's `x-datadog-…`.
    Datadog,
    /// AWS X-Ray's `x-amzn-trace-id`.
    Xray,
    /// Jaeger's `uber-trace-id`.
    Jaeger,
}

/// Rules for W3C Baggage. Where there are some, what is no valid member is dropped, and of more than 64 members or 8,192 bytes the last are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BaggageRules {
    /// Members that are set on requests that come in, from other services and from the proxy's own, before anything reads them. In place of what
    /// came under that name; `incoming` does not ask for them. At most 16.
    #[schemars(length(max = 16))]
    pub set: Option<Vec<BaggageSetting>>,
    /// What callers may bring.
    pub incoming: Option<BaggageFilter>,
    /// What goes on to other services.
    pub outgoing: Option<BaggageFilter>,
}

/// A member of baggage that is set: exactly one of `literal`, `header`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["literal", "header"]))]
pub struct BaggageSetting {
    /// Its name. At most 128 bytes.
    pub name: String,
    /// Always this value. Not empty, at most 256 bytes.
    pub literal: Option<String>,
    /// The value of a request header. A request without it, where no default is given, keeps what came.
    pub header: Option<Lookup>,
    /// Whether a member that came stays. Unset: false.
    pub if_absent: Option<bool>,
}

/// Which members of baggage pass, by their names, or by how names begin: `tenant.*`. At most 64 names in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BaggageFilter {
    /// What passes. Unset: all; `[]`: nothing.
    #[schemars(length(max = 64))]
    pub allow: Option<Vec<String>>,
    /// What does not pass, even if it is allowed.
    #[schemars(length(max = 64))]
    pub deny: Option<Vec<String>>,
}

/// A span attribute: exactly one of `literal`, `header`, `baggage`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["literal", "header", "baggage"]))]
pub struct Tag {
    /// The attribute's key. Not empty.
    pub name: String,
    /// Always this value. Not empty.
    pub literal: Option<String>,
    /// The value of a request header, or of a pseudo-header like `:authority`.
    pub header: Option<Lookup>,
    /// The value of an entry of W3C Baggage.
    pub baggage: Option<Lookup>,
    /// Makes it a label of the metric `ursa_request_duration_seconds`, which the agent makes of spans where a MeshMetric has it gather metrics. Of 4
    /// tags at most; characters that a label cannot have become `_`. Unset: it is on spans alone.
    pub in_metrics: Option<InMetrics>,
}

/// A tag as a label of metrics. Values are cut at 128 bytes. `{}` is all defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InMetrics {
    /// How many values it has at most at one proxy; what comes later is `other`. A value that does not come for an hour makes room. 1 to 200. Unset: 20.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
}

/// A value that requests carry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lookup {
    /// Its name. Not empty.
    pub name: String,
    /// The value when a request has none. Unset or empty: nothing then.
    pub default: Option<String>,
}

/// How spans name what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SemanticConventions {
    /// OpenTelemetry's stable names, like `http.request.method`.
    OpenTelemetry,
    /// Envoy's own, like `http.method`.
    Envoy,
}
