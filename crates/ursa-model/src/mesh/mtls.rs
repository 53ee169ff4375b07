//! `mtls` of a Mesh: who signs the proxies' certificates, and what listeners ask of their clients.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::lifetime::Lifetime;
use crate::names;
use crate::report::Cursor;

/// How long a proxy's certificate lasts where the Mesh does not say.
const CERTIFICATE_LIFETIME: Lifetime = Lifetime::of_days(1);
/// How long a built-in authority lasts where the Mesh does not say.
const AUTHORITY_LIFETIME: Lifetime = Lifetime::of_days(10 * 365);
/// A shorter one is over before its successor can be there.
const SHORTEST_LIFETIME: Lifetime = Lifetime::of_seconds(5);
/// Sizes of RSA keys that can be made.
const RSA_BITS: [u32; 3] = [2048, 3072, 4096];

/// Mutual TLS between the proxies of a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mtls {
    /// Name of the backend that signs. Unset or empty: mTLS is off.
    #[serde(default)]
    pub enabled_backend: Option<String>,
    /// Authorities. Proxies trust all of them, so that another can be enabled without an interruption.
    #[serde(default)]
    pub backends: Vec<AuthorityBackend>,
    /// Whether nothing is said when a provided authority cannot be used as it is. Default false.
    #[serde(default)]
    pub skip_validation: Option<bool>,
}

/// One authority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityBackend {
    /// Name, of its own within the mesh.
    pub name: String,
    /// Whose key signs.
    #[serde(rename = "type")]
    pub kind: AuthorityKind,
    /// What inbounds ask of their clients while this backend is enabled. Default `STRICT`.
    #[serde(default)]
    pub mode: Option<MtlsMode>,
    /// The certificates of proxies.
    #[serde(default)]
    pub dp_cert: Option<DpCert>,
    /// Fetching the authority's certificate. No effect: nothing has to be fetched.
    #[serde(default)]
    pub root_chain: Option<Value>,
    /// Settings of the type.
    #[serde(default)]
    pub conf: Option<AuthorityConf>,
}

/// Whose key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthorityKind {
    /// One that the control plane makes, once, and keeps as Secrets.
    Builtin,
    /// One that is given: `conf.cert` and `conf.key`.
    Provided,
}

/// What inbounds ask of their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// A certificate of the mesh, or plain text.
    Permissive,
    /// A certificate of the mesh.
    #[default]
    Strict,
}

/// The certificates of proxies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DpCert {
    /// When they are renewed.
    #[serde(default)]
    pub rotation: Option<Rotation>,
    /// How long signing may take. No effect: the control plane signs by itself.
    #[serde(default)]
    pub request_timeout: Option<Value>,
}

/// When certificates are renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// How long a certificate lasts; it is renewed when 70 to 80 % of that are over. Default `1d`.
    #[serde(default)]
    pub expiration: Option<Lifetime>,
}

/// Settings of an authority. Those of the other type are refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityConf {
    /// `builtin`: the authority's certificate.
    #[serde(default)]
    pub ca_cert: Option<CaCert>,
    /// `provided`: the authority's certificate in PEM form; what follows the first is sent along with certificates.
    #[serde(default)]
    pub cert: Option<DataSource>,
    /// `provided`: the authority's private key in PEM form.
    #[serde(default)]
    pub key: Option<DataSource>,
}

/// The certificate of a built-in authority, as it will be made; one that is there already stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaCert {
    /// Bits of an RSA key: 2048, 3072 or 4096. Unset: the key is of ECDSA over P-256, which signs faster.
    #[serde(default)]
    pub rsa_bits: Option<u32>,
    /// How long the authority lasts. Default `10y`.
    #[serde(default)]
    pub expiration: Option<Lifetime>,
}

/// Where a text is; exactly one is set.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-exactly-one" = ["secret", "file", "inline", "inlineString"]))]
pub struct DataSource {
    /// Name of a Secret of the mesh.
    #[serde(default)]
    pub secret: Option<String>,
    /// Path of a file of the control plane.
    #[serde(default)]
    pub file: Option<String>,
    /// The text in base64.
    #[serde(default)]
    pub inline: Option<String>,
    /// The text itself.
    #[serde(default)]
    pub inline_string: Option<String>,
}

/// What stands inline may be a key.
impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataSource")
            .field("secret", &self.secret)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Mtls {
    /// The backend that signs; none: mTLS is off.
    pub fn enabled(&self) -> Option<&AuthorityBackend> {
        let name = self.enabled_backend.as_deref()?;
        self.backends.iter().find(|backend| backend.name == name)
    }

    /// Reports all that is wrong. The cursor stands on `mtls`.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        let enabled = self.enabled_backend.as_deref().filter(|name| !name.is_empty());
        if let Some(name) = enabled.filter(|_| self.enabled().is_none()) {
            cursor.at("enabledBackend").refuse_with_hint(
                format!("there is no backend `{name}` among `backends`"),
                "for example `backends: [{name: ca-1, type: builtin}]`",
            );
        }
        let mut seen = BTreeSet::new();
        for (index, backend) in self.backends.iter().enumerate() {
            let cursor = cursor.at("backends").index(index);
            if !seen.insert(backend.name.as_str()) {
                cursor.at("name").refuse(format!("`{}` stands here twice", backend.name));
            }
            backend.validate(&cursor);
        }
    }
}

impl AuthorityBackend {
    /// What inbounds ask of their clients.
    pub fn mode(&self) -> MtlsMode {
        self.mode.unwrap_or_default()
    }

    /// How long a proxy's certificate lasts.
    pub fn certificate_lifetime(&self) -> Lifetime {
        let rotation = self.dp_cert.as_ref().and_then(|dp_cert| dp_cert.rotation.as_ref());
        rotation.and_then(|rotation| rotation.expiration).unwrap_or(CERTIFICATE_LIFETIME)
    }

    fn ca_cert(&self) -> Option<&CaCert> {
        self.conf.as_ref()?.ca_cert.as_ref()
    }

    /// Bits of the RSA key of a built-in authority; none: ECDSA over P-256.
    pub fn rsa_bits(&self) -> Option<u32> {
        self.ca_cert()?.rsa_bits
    }

    /// How long a built-in authority lasts.
    pub fn authority_lifetime(&self) -> Lifetime {
        let expiration = self.ca_cert().and_then(|ca_cert| ca_cert.expiration);
        expiration.unwrap_or(AUTHORITY_LIFETIME)
    }

    fn validate(&self, cursor: &Cursor<'_>) {
        names::validate_resource_name(&self.name, &cursor.at("name"));
        for field in ["dpCert.requestTimeout", "rootChain"] {
            if cursor.at(field).node().is_some_and(|node| !node.is_null()) {
                cursor.at(field).warn("has no effect: the control plane signs by itself");
            }
        }
        let expiration = cursor.at("dpCert.rotation.expiration");
        refuse_short(self.certificate_lifetime(), &expiration);
        if self.certificate_lifetime() > self.authority_lifetime() {
            expiration.warn("is longer than the authority lasts, whose end is theirs");
        }
        let cursor = cursor.at("conf");
        let none = AuthorityConf::default();
        let conf = self.conf.as_ref().unwrap_or(&none);
        match self.kind {
            AuthorityKind::Builtin => conf.validate_builtin(&cursor),
            AuthorityKind::Provided => conf.validate_provided(&cursor),
        }
    }
}

impl AuthorityConf {
    fn validate_builtin(&self, cursor: &Cursor<'_>) {
        for (field, set) in [("cert", self.cert.is_some()), ("key", self.key.is_some())] {
            if set {
                cursor.at(field).refuse("belongs to a backend of type `provided`");
            }
        }
        let Some(CaCert { rsa_bits, expiration }) = &self.ca_cert else { return };
        if rsa_bits.is_some_and(|bits| !RSA_BITS.contains(&bits)) {
            cursor.at("caCert.rsaBits").refuse("must be 2048, 3072 or 4096");
        }
        if let Some(expiration) = expiration {
            refuse_short(*expiration, &cursor.at("caCert.expiration"));
        }
    }

    fn validate_provided(&self, cursor: &Cursor<'_>) {
        if self.ca_cert.is_some() {
            cursor.at("caCert").refuse("belongs to a backend of type `builtin`");
        }
        for (field, source) in [("cert", &self.cert), ("key", &self.key)] {
            let cursor = cursor.at(field);
            match source {
                Some(source) => source.validate(field == "key", &cursor),
                None => cursor.refuse_with_hint(
                    "is missing: a backend of type `provided` needs `conf.cert` and `conf.key`",
                    format!("for example `{field}: {{secret: my-ca-{field}}}`"),
                ),
            }
        }
    }
}

impl DataSource {
    fn validate(&self, private: bool, cursor: &Cursor<'_>) {
        let Self { secret, file, inline, inline_string } = self;
        let forms = [("secret", secret), ("file", file), ("inline", inline)];
        let forms = forms.into_iter().chain([("inlineString", inline_string)]);
        let set: Vec<_> = forms.filter_map(|(name, form)| Some((name, form.as_ref()?))).collect();
        let [(form, text)] = set.as_slice() else {
            return cursor
                .refuse("needs exactly one of `secret`, `file`, `inline` and `inlineString`");
        };
        let cursor = cursor.at(form);
        if text.is_empty() {
            cursor.refuse("must not be empty");
        }
        if *form == "inline" && decoded(text).is_none() {
            cursor.refuse_with_hint("must be base64", "encode it: `base64 -w0 < file`");
        }
        if private && form.starts_with("inline") {
            cursor.warn_with_hint(
                "a private key stands here in clear, for all who may read this resource",
                "keep it as a Secret: `key: {secret: NAME}`",
            );
        }
    }

    /// What stands inline, decoded; none where it stands elsewhere.
    pub fn inline_bytes(&self) -> Option<Vec<u8>> {
        match (&self.inline, &self.inline_string) {
            (Some(inline), _) => decoded(inline),
            (None, Some(text)) => Some(text.clone().into_bytes()),
            (None, None) => None,
        }
    }
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    let compact: String = base64.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok()
}

fn refuse_short(lifetime: Lifetime, cursor: &Cursor<'_>) {
    if lifetime < SHORTEST_LIFETIME {
        cursor.refuse(format!("must be {SHORTEST_LIFETIME} or more"));
    }
}

/// The Secrets in which a built-in authority is kept, as Kuma names them: certificate and key.
pub fn builtin_secrets(mesh: &str, backend: &str) -> (String, String) {
    let name = |what: &str| format!("{mesh}.ca-builtin-{what}-{backend}");
    (name("cert"), name("key"))
}
