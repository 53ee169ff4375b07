//! Who may connect to a listener.

use std::collections::BTreeMap;
use std::fmt;

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

/// How tags begin in certificates: `kuma://<key>/<value>`.
pub const TAG_NAMES: &str = "kuma://";

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
    /// Envoy counts under it, made legal by [`super::stat_name`]. Rules of one policy share it.
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
    /// That ask for that server (SNI).
    ServerName(String),
    /// For which all hold.
    All(Vec<Client>),
    /// For which it does not hold.
    Not(Box<Client>),
    /// With all these tags in its certificate (`kuma://<key>/<value>`); the value `*` is any.
    Tags(BTreeMap<String, String>),
}

/// In words: `spiffe://default/web`, `spiffe://default/shop-…`, `team=core`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anyone"),
            Self::Spiffe(TextMatch::Exact(id)) => f.write_str(id),
            Self::Spiffe(TextMatch::Prefix(id)) => write!(f, "{id}…"),
            Self::ServerName(name) => write!(f, "asking for {name}"),
            Self::Not(client) => write!(f, "not {client}"),
            Self::All(all) => {
                for (index, client) in all.iter().enumerate() {
                    write!(f, "{}{client}", if index > 0 { " and " } else { "" })?;
                }
                Ok(())
            }
            Self::Tags(tags) => {
                for (index, (key, value)) in tags.iter().enumerate() {
                    write!(f, "{}{key}={value}", if index > 0 { " and " } else { "" })?;
                }
                Ok(())
            }
        }
    }
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
