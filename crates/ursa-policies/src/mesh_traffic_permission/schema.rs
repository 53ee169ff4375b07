//! What users may write in a MeshTrafficPermission.

use schemars::JsonSchema;
use serde::Deserialize;
use ursa_envoy::proxy::Verdict;
use ursa_model::target_ref::TargetRef;

use crate::kind::Match;
use crate::source::Source;

/// A policy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-also" = [
    {"anyOf": [
        {"required": ["from"], "properties": {"from": {"type": "array", "minItems": 1}}},
        {"required": ["rules"], "properties": {"rules": {"type": "array", "minItems": 1}}},
    ]},
    {"anyOf": [
        {"properties": {"from": {"enum": [null, []]}}},
        {"properties": {"rules": {"enum": [null, []]}}},
    ]},
]))]
#[expect(dead_code, reason = "read from the tree, so that every value knows its origin")]
pub(super) struct Spec {
    /// Which proxies it is for, or which of their inbounds. Unset: every proxy of the mesh.
    target_ref: Option<TargetRef>,
    /// Clients by service and tags. Of those whom several items mean, the later decides. Excludes `rules`.
    from: Option<Vec<From>>,
    /// Clients by SPIFFE id. Whoever is denied is denied, whoever else is allowed. Excludes `from`.
    rules: Option<Vec<Rule>>,
}

/// Whether some clients may call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read from the tree")]
struct From {
    /// Which clients. Unset: every one.
    target_ref: Option<Source>,
    /// Whether they may.
    default: OfClients,
}

/// Whether clients may call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read from the tree")]
struct OfClients {
    /// Whether they may.
    action: Action,
}

/// Which clients may call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read from the tree")]
struct Rule {
    /// Which may.
    default: Lists,
}

/// Which clients may call. One list at least.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-one-at-least" = ["deny", "allowWithShadowDeny", "allow"]))]
#[expect(dead_code, reason = "read from the tree")]
struct Lists {
    /// They may not, whoever allows them.
    deny: Option<Vec<Match>>,
    /// They may; it is counted and logged as if they might not.
    allow_with_shadow_deny: Option<Vec<Match>>,
    /// They may, unless somebody denies them.
    allow: Option<Vec<Match>>,
}

/// Whether clients may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Action {
    /// They may.
    Allow,
    /// They may not.
    Deny,
    /// They may; it is counted and logged as if they might not.
    AllowWithShadowDeny,
}

impl Action {
    /// For Envoy.
    pub(super) const fn verdict(self) -> Verdict {
        match self {
            Self::Allow => Verdict::Allow,
            Self::Deny => Verdict::Deny,
            Self::AllowWithShadowDeny => Verdict::AllowWithShadowDeny,
        }
    }
}

/// The settings of one item of `from` (`action`) or of `rules` (the lists).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Whether the clients of an item of `from` may.
    pub action: Option<Action>,
    /// Who may not, whoever allows them.
    pub deny: Option<Vec<Match>>,
    /// Who may, and is counted and logged as if they might not.
    pub allow_with_shadow_deny: Option<Vec<Match>>,
    /// Who may, unless somebody denies them.
    pub allow: Option<Vec<Match>>,
}

/// A list of clients: its field, what it says of them, its items.
pub(super) type List<'c> = (&'static str, Verdict, &'c [Match]);

impl Conf {
    /// The lists, the one that decides first at first.
    pub(super) fn lists(&self) -> [List<'_>; 3] {
        [
            ("deny", Verdict::Deny, items(self.deny.as_ref())),
            (
                "allowWithShadowDeny",
                Verdict::AllowWithShadowDeny,
                items(self.allow_with_shadow_deny.as_ref()),
            ),
            ("allow", Verdict::Allow, items(self.allow.as_ref())),
        ]
    }
}

fn items(list: Option<&Vec<Match>>) -> &[Match] {
    list.map(Vec::as_slice).unwrap_or_default()
}
