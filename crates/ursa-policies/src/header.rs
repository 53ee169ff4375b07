//! Headers of requests, as policies ask for them.

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_envoy::proxy::{self, HeaderValue};

/// A header of requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [{
    "if": {"required": ["type"], "properties": {"type": {"enum": ["Present", "Absent"]}}},
    "else": {"required": ["value"], "properties": {"value": {"type": "string"}}},
}]))]
pub struct HeaderMatch {
    /// How `value` is compared. Unset: `Exact`.
    #[serde(rename = "type")]
    pub kind: Option<HeaderMatchType>,
    /// The header's name.
    pub name: String,
    /// What its value is compared with.
    pub value: Option<String>,
}

impl HeaderMatch {
    /// Whether it is compared with a `value`.
    pub fn needs_value(&self) -> bool {
        !matches!(self.kind, Some(HeaderMatchType::Present | HeaderMatchType::Absent))
    }

    /// What it asks of a proxy. Envoy knows names of headers in small letters.
    pub(crate) fn of_proxy(&self) -> proxy::HeaderMatch {
        let value = self.value.clone().unwrap_or_default();
        let value = match self.kind.unwrap_or(HeaderMatchType::Exact) {
            HeaderMatchType::Exact => HeaderValue::Exact(value),
            HeaderMatchType::Prefix => HeaderValue::Prefix(value),
            HeaderMatchType::RegularExpression => HeaderValue::Regex(value),
            HeaderMatchType::Present => HeaderValue::Present,
            HeaderMatchType::Absent => HeaderValue::Absent,
        };
        proxy::HeaderMatch { name: self.name.to_ascii_lowercase(), value }
    }
}

/// Whether `name` is one of a header or of a pseudo-header, like `:path`.
pub(crate) fn is_header(name: &str) -> bool {
    is_token(name.strip_prefix(':').unwrap_or(name))
}

/// Whether `text` is a token of HTTP (RFC 9110, section 5.6.2): what headers, methods and keys of baggage are named by.
pub(crate) fn is_token(text: &str) -> bool {
    ursa_propagation::baggage::is_name(text.as_bytes())
}

/// How a header is compared.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub enum HeaderMatchType {
    /// The whole value.
    Exact,
    /// It is there.
    Present,
    /// RE2, on the whole value.
    RegularExpression,
    /// It is not there.
    Absent,
    /// Its beginning.
    Prefix,
}
