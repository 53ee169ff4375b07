//! What users write below `spec` of a MeshHTTPRoute.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_model::percent::Percent;
use ursa_model::target_ref::TargetRef;

use crate::header::HeaderMatch;
use crate::part::Destination;

/// Which requests to services go where, and how they are changed on the way.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Whose requests: those of these proxies. Unset: of every proxy of the mesh.
    pub target_ref: Option<TargetRef>,
    /// Rules by destination.
    pub to: Option<Vec<To>>,
}

/// Rules for requests to a destination.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct To {
    /// The destination: a `MeshService`. `Mesh` of gateways alone.
    pub target_ref: Destination,
    /// Hosts that requests ask for. Of gateways alone.
    pub hostnames: Option<Vec<String>>,
    /// The rules. Of several that take a request the most specific counts.
    pub rules: Option<Vec<Rule>>,
}

/// What becomes of some requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Which requests: those that any of these takes. Rules with the same `matches`, also in other policies, merge.
    #[schemars(length(min = 1))]
    pub matches: Vec<Match>,
    /// What becomes of them.
    pub default: Routing,
}

/// Requests. All that is given must match; `{}` are all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Match {
    /// The path, without its query. Unset: any.
    pub path: Option<PathMatch>,
    /// The method. Unset: any.
    pub method: Option<Method>,
    /// Parameters of the query, all of them.
    pub query_params: Option<Vec<QueryMatch>>,
    /// Headers, all of them.
    pub headers: Option<Vec<HeaderMatch>>,
}

/// A path of requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    /// How `value` is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// What the path is compared with.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// Its first segments: `/v2` takes `/v2` and `/v2/items`, and not `/v20`.
    PathPrefix,
    /// RE2, on the whole path.
    RegularExpression,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `CONNECT`.
    Connect,
    /// `DELETE`.
    Delete,
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`.
    Options,
    /// `PATCH`.
    Patch,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `TRACE`.
    Trace,
}

impl Method {
    /// As requests write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Trace => "TRACE",
        }
    }
}

/// A parameter of the query.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryMatch {
    /// How `value` is compared.
    #[serde(rename = "type")]
    pub kind: QueryMatchType,
    /// Its name; case counts.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What its value is compared with.
    pub value: String,
}

/// How a parameter of the query is compared.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum QueryMatchType {
    /// The whole value.
    Exact,
    /// RE2, on the whole value.
    RegularExpression,
}

/// What becomes of requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Routing {
    /// What is changed on the way, and where copies go. Unset: nothing, nowhere.
    pub filters: Option<Vec<Filter>>,
    /// Where they go, shared out by weight. Unset or empty: to the service itself.
    pub backend_refs: Option<Vec<BackendRef>>,
}

/// A service that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["name", "labels"]))]
pub struct BackendRef {
    /// What it is.
    pub kind: BackendKind,
    /// Its name (`kuma.io/service`).
    pub name: Option<String>,
    /// The Kubernetes namespace of what `name` names.
    pub namespace: Option<String>,
    /// Labels that it must have; instead of `name`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Tags that its endpoints must have. Of a `MeshServiceSubset` alone.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The port of its endpoints. Unset: any.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// One of its ports by name.
    pub section_name: Option<String>,
    /// Its share, beside the weights of the others. Unset: 1; 0: none.
    #[schemars(range(max = 1_000_000))]
    pub weight: Option<u32>,
}

/// The kinds of services that requests can go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BackendKind {
    /// A service.
    MeshService,
    /// Those endpoints of a service that have `tags`.
    MeshServiceSubset,
    /// A service outside of the mesh.
    MeshExternalService,
    /// A service of several zones.
    MeshMultiZoneService,
}

impl BackendKind {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MeshService => "MeshService",
            Self::MeshServiceSubset => "MeshServiceSubset",
            Self::MeshExternalService => "MeshExternalService",
            Self::MeshMultiZoneService => "MeshMultiZoneService",
        }
    }
}

/// A change on the way, or a copy: exactly one of `requestHeaderModifier`, `responseHeaderModifier`, `requestRedirect`, `urlRewrite`,
/// `requestMirror`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = [
    "requestHeaderModifier", "responseHeaderModifier", "requestRedirect", "urlRewrite", "requestMirror",
]))]
pub struct Filter {
    /// Which one is set. May be left out.
    #[serde(rename = "type")]
    pub kind: Option<FilterType>,
    /// Changes headers of requests.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes headers of answers.
    pub response_header_modifier: Option<HeaderModifier>,
    /// Sends the client elsewhere. No `backendRefs` are asked then.
    pub request_redirect: Option<RequestRedirect>,
    /// Changes path and host of requests.
    pub url_rewrite: Option<UrlRewrite>,
    /// Sends copies of requests, whose answers are dropped.
    pub request_mirror: Option<RequestMirror>,
}

/// The kinds of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FilterType {
    /// `requestHeaderModifier` is set.
    RequestHeaderModifier,
    /// `responseHeaderModifier` is set.
    ResponseHeaderModifier,
    /// `requestRedirect` is set.
    RequestRedirect,
    /// `urlRewrite` is set.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// `requestMirror` is set.
    RequestMirror,
}

/// Changes of headers: one of `set`, `add`, `remove` at least, each header once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-one-at-least" = ["set", "add", "remove"]))]
pub struct HeaderModifier {
    /// Instead of what is there.
    #[schemars(length(max = 16))]
    pub set: Option<Vec<Header>>,
    /// Beside what is there.
    #[schemars(length(max = 16))]
    pub add: Option<Vec<Header>>,
    /// Names.
    #[schemars(length(max = 16))]
    pub remove: Option<Vec<String>>,
}

/// A header with its value, which is taken as it is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Where the client is sent. What is unset stays as it asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRedirect {
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// The port.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The status: 301, 302, 303, 307 or 308. Unset: 302.
    #[schemars(extend("enum" = [301, 302, 303, 307, 308]))]
    pub status_code: Option<u16>,
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// Another path: exactly one of `replaceFullPath`, `replacePrefixMatch`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["replaceFullPath", "replacePrefixMatch"]))]
pub struct PathRewrite {
    /// Which one is set. May be left out.
    #[serde(rename = "type")]
    pub kind: Option<PathRewriteType>,
    /// This path, whatever was asked for. The query stays.
    pub replace_full_path: Option<String>,
    /// What replaces the prefix that matched; of rules alone whose `matches` all ask for a prefix.
    pub replace_prefix_match: Option<String>,
}

/// The kinds of other paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PathRewriteType {
    /// `replaceFullPath` is set.
    ReplaceFullPath,
    /// `replacePrefixMatch` is set.
    ReplacePrefixMatch,
}

/// Another path and host for the service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UrlRewrite {
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// The host is the name of the endpoint that is chosen. Of gateways alone.
    pub host_to_backend_hostname: Option<bool>,
}

/// Where copies go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// Of which share of requests. Percent. Unset: of all.
    pub percentage: Option<Percent>,
    /// The service.
    pub backend_ref: BackendRef,
}

/// Merged settings for a destination: its rules by the words for their `matches`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// The rules.
    pub rules: BTreeMap<String, MergedRule>,
}

/// A rule that all policies wrote together.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MergedRule {
    /// Which requests.
    pub matches: Vec<Match>,
    /// What becomes of them.
    #[serde(flatten)]
    pub routing: Routing,
}
