//! What changes single spans: attributes from baggage, and names.

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

impl SpanName {
    /// Reports a template that is none. The cursor stands on it.
    pub fn validate(template: &str, cursor: &Cursor<'_>) {
        if template.trim().is_empty() {
            cursor.refuse("must not be empty");
        }
        template::validate(template, cursor);
    }
}
