//! The token with which an agent joins: who it is, and which certificate authority to trust.
//!
//! A JSON Web Token (RFC 7519). Its signature is the control plane's business; the agent reads the
//! claims to know the authority, and to explain a refusal.

use std::path::PathBuf;
use std::{fmt, io};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use ursa_model::{ProxyId, SecretText};

/// Most bytes of a token.
const MAX_TOKEN: usize = 16 * 1024;

/// Where the token is had from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// The token itself.
    Text(SecretText),
    /// A file that holds it; read again for each connection, so that it can be renewed.
    File(PathBuf),
}

/// Why a token cannot be used. The words never hold the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file could not be read.
    #[error("read the token from {path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not a token by its form.
    #[error("the token is not one that `ursa token` makes")]
    Malformed,
    /// It says nothing about whom to trust.
    #[error("the token names no certificate authority; make a new one with `ursa token`")]
    NoAuthority,
    /// It is for somebody else.
    #[error("the token is for {token}, and this proxy is {proxy}")]
    OtherProxy {
        /// Whom the token names.
        token: String,
        /// Who this is.
        proxy: ProxyId,
    },
}

/// What an agent reads in a token.
pub(crate) struct Token {
    pub(crate) text: SecretText,
    /// SHA-256 of the certificate authority's certificate (DER).
    pub(crate) authority: [u8; 32],
    /// When it expires, in seconds since 1970.
    pub(crate) expires: Option<i64>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    kind: Option<String>,
    mesh: Option<String>,
    name: Option<String>,
    ca: Option<String>,
    exp: Option<i64>,
}

impl TokenSource {
    /// Reads the token that proxy `id` is to join with.
    pub(crate) async fn read(&self, id: &ProxyId) -> Result<Token, TokenError> {
        match self {
            Self::Text(text) => Token::parse(text.clone(), id),
            Self::File(path) => {
                let error = |source| TokenError::File { path: path.clone(), source };
                let text = tokio::fs::read_to_string(path).await.map_err(error)?;
                Token::parse(SecretText::new(text.trim()), id)
            }
        }
    }
}

impl Token {
    pub(super) fn parse(text: SecretText, id: &ProxyId) -> Result<Self, TokenError> {
        let claims = Claims::read(&text)?;
        let proxy = || id.clone();
        match (&claims.mesh, &claims.name) {
            (Some(mesh), Some(name)) if *mesh == id.mesh && *name == id.name => {}
            (Some(mesh), Some(name)) => {
                let token = format!("{mesh}/{name}");
                return Err(TokenError::OtherProxy { token, proxy: proxy() });
            }
            _ => {
                let kind = claims.kind.as_deref().unwrap_or("unknown");
                let token = format!("no proxy (kind {kind:?})");
                return Err(TokenError::OtherProxy { token, proxy: proxy() });
            }
        }
        Ok(Self { text, authority: claims.authority()?, expires: claims.exp })
    }
}

impl Claims {
    fn read(token: &SecretText) -> Result<Self, TokenError> {
        let parts: Vec<&str> = token.expose().split('.').collect();
        let [_, payload, _] = parts.as_slice() else { return Err(TokenError::Malformed) };
        if token.expose().len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)
    }

    fn authority(&self) -> Result<[u8; 32], TokenError> {
        self.ca.as_deref().and_then(fingerprint).ok_or(TokenError::NoAuthority)
    }
}

/// The hash of the certificate authority that any token of a control plane names.
pub(super) fn authority(token: &SecretText) -> Result<[u8; 32], TokenError> {
    Claims::read(token)?.authority()
}

/// Reads 64 hexadecimal digits.
fn fingerprint(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = bytes.collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A token with these claims, signed by nobody.
    pub(crate) fn unsigned(claims: &serde_json::Value) -> SecretText {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let (header, claims) = (part(r#"{"alg":"EdDSA"}"#), part(&claims.to_string()));
        SecretText::new(format!("{header}.{claims}.c2ln"))
    }

    #[test]
    fn claims_are_read_and_what_is_wrong_is_said() {
        let id = ProxyId::new("default", "cart-1");
        let ca = "0f".repeat(32);
        let parse = |claims: serde_json::Value| Token::parse(unsigned(&claims), &id);
        let good = parse(serde_json::json!({
            "kind": "dataplane", "mesh": "default", "name": "cart-1", "ca": ca, "exp": 7, "jti": "x"
        }));
        let good = good.unwrap();
        assert_eq!((good.authority, good.expires), ([0x0f; 32], Some(7)));
        assert!(!format!("{good:?}").contains("eyJ"), "the token is not shown");

        let words = |claims| parse(claims).unwrap_err().to_string();
        let other = serde_json::json!({"mesh": "default", "name": "web", "ca": ca});
        assert_eq!(words(other), "the token is for default/web, and this proxy is default/cart-1");
        let admin = serde_json::json!({"kind": "admin", "ca": ca});
        assert_eq!(
            words(admin),
            "the token is for no proxy (kind \"admin\"), and this proxy is default/cart-1"
        );
        let no_ca = serde_json::json!({"mesh": "default", "name": "cart-1", "ca": "abc"});
        assert!(matches!(parse(no_ca), Err(TokenError::NoAuthority)));
        for bad in ["", "a.b", "a.!.c", "a.e30.c.d", "a.bnVsbA.c"] {
            let error = Token::parse(SecretText::new(bad), &id).unwrap_err();
            assert!(matches!(error, TokenError::Malformed), "{bad}: {error}");
        }
    }
}
