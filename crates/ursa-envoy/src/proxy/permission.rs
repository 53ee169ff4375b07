//! Who may connect to a listener.

use std::collections::BTreeMap;

/// Certificates of the mesh. The proxy's own, and the authorities that it trusts, are given to Envoy by the agent beside it, as the secrets
/// [`IDENTITY_SECRET`] and [`TRUST_SECRET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshTls {
    /// What SPIFFE ids begin with: `spiffe://<trust domain>/<service>`. The mesh's name.
    pub trust_domain: String,
}

/// The secret (SDS) that holds the proxy's certificate and key.
pub const IDENTITY_SECRET: &str = "identity";
/// The secret (SDS) that holds the authorities that the proxy trusts.
pub const TRUST_SECRET: &str = "trust";

/// Whether connections to a listener are by TLS with certificates of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListenerTls {
    /// They are not.
    #[default]
    Off,
    /// Those of other proxies are; others are taken as they come.
    Permissive,
    /// All are.
    Strict,
}

/// Who may connect. The first that matches decides; if none does, it is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Strongest first.
    pub rules: Vec<Permission>,
}

/// Whether some clients may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Envoy counts under it, made legal by [`super::stat_name`]; unique among the rules.
    pub name: String,
    /// Which clients: any of these. Empty: none.
    pub clients: Vec<Client>,
    /// Whether they may.
    pub verdict: Verdict,
}

/// Clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// Every one, also without a certificate.
    Any,
    /// With a SPIFFE id.
    Spiffe(TextMatch),
    /// For which all hold.
    All(Vec<Client>),
    /// For which it does not hold.
    Not(Box<Client>),
    /// With all these tags in its certificate (`kuma://<key>/<value>`).
    Tags(BTreeMap<String, String>),
}

/// What is asked of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatch {
    /// It is this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
}

/// Whether clients may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// They may.
    Allow,
    /// They may, and it is counted as if they might not. Envoy: `shadow_rules`.
    AllowWithShadowDeny,
    /// They may not.
    Deny,
}
