//! What changes single spans: attributes from baggage, and names.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::Cursor;
use crate::template;

/// Gives spans attributes from an attribute that holds the header of W3C Baggage, and takes that one off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaggageAttributes {
    /// The attribute that holds the header.
    pub from: String,
    /// What is read out of it.
    pub members: Vec<BaggageMember>,
}

/// Gives spans of Envoy's (`component: proxy`) attributes. One that a span has under the same key is replaced, as a custom
/// tag of Envoy's would replace it; where all spans of a proxy say the same, it costs Envoy less if the agent writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyTags {
    /// Keys and values, which are taken as they are.
    pub set: BTreeMap<String, String>,
}

/// One member of baggage as an attribute. A span that has the attribute already keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaggageMember {
    /// The attribute's key.
    pub attribute: String,
    /// The member's key.
    pub member: String,
    /// The value where there is no such member. Unset: no attribute then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// Names spans by their attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpanName {
    /// For example `{{http.request.method}} {{tenant | default "nobody"}}`. `{{name}}` is the name that a span has.
    /// A span without one of the attributes keeps its name.
    pub template: String,
}

impl BaggageAttributes {
    pub(super) fn validate(&self, cursor: &Cursor<'_>) {
        if self.from.is_empty() {
            cursor.at("from").refuse("an attribute needs a name");
        }
        for (index, BaggageMember { attribute, member, .. }) in self.members.iter().enumerate() {
            let cursor = cursor.at("members").index(index);
            for (field, name) in [("attribute", attribute), ("member", member)] {
                if name.is_empty() {
                    cursor.at(field).refuse("must not be empty");
                }
            }
        }
    }
}

impl EnvoyTags {
    pub(super) fn validate(&self, cursor: &Cursor<'_>) {
        let cursor = cursor.at("set");
        for name in self.set.keys().filter(|name| name.is_empty()) {
            cursor.key(name).refuse("an attribute needs a name");
        }
        if self.set.is_empty() {
            cursor.refuse("must not be empty");
        }
    }
}

impl SpanName {
    /// Reports a template that is none. The cursor stands on it.
    pub fn validate(template: &str, cursor: &Cursor<'_>) {
        if template.trim().is_empty() {
            cursor.refuse("must not be empty");
        }
        template::validate(template, cursor);
    }
}
