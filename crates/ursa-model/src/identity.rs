//! What the agent beside a proxy is to hold when mTLS is on: it has to get a certificate and keep it fresh.

use serde::{Deserialize, Serialize};

/// What the agent is told. Names and authorities are the control plane's to decide; here they stand so that the agent
/// sees when what it holds no longer fits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Certificates of all authorities that are trusted, in PEM form. Empty while none can be used: then what is held
    /// stays.
    pub trust: Vec<String>,
    /// Name of the backend that signs.
    pub backend: String,
    /// The names in the certificate: URIs, as `spiffe://<mesh>/<service>` and `kuma://<tag>/<value>`.
    pub names: Vec<String>,
    /// How long a certificate lasts, in seconds.
    pub lifetime: u64,
    /// When the certificate of the backend that signs is valid.
    pub authority: Option<Validity>,
}

/// From when until when a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// For how many seconds it is valid in all.
    pub fn seconds(self) -> u64 {
        u64::try_from(self.not_after.saturating_sub(self.not_before)).unwrap_or_default()
    }
}
