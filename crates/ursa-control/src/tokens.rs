//! Tokens: who a caller is, signed by the control plane.
//!
//! JSON Web Tokens (RFC 7519) with EdDSA over Ed25519 (RFC 8037). A token for a proxy names mesh
//! and proxy; one for an administrator names neither. Both name the fingerprint of the
//! certificate authority, so that whoever holds the token knows which server to trust with it.

use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::{KeyPair, PKCS_ED25519};
use serde::{Deserialize, Serialize};
use ursa_model::{ProxyId, SecretText};

use crate::authority::hex;
use crate::files::{self, FileError};

const KEY: &str = "token-key.pem";
const ADMIN: &str = "admin-token";
/// How long the admin token of the data directory lasts; it is renewed at a start when less than
/// half of that is left.
const ADMIN_VALID_FOR: Duration = Duration::from_hours(365 * 24);
/// No token lasts longer than ten years.
pub(crate) const MAX_VALID_FOR: Duration = Duration::from_hours(10 * 365 * 24);
/// Longer tokens are not looked at.
const MAX_TOKEN: usize = 4096;

/// Why tokens cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The key's file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key's file does not hold what it should.
    #[error("{KEY} does not hold an Ed25519 private key in PEM form")]
    Unreadable,
    /// A key could not be made.
    #[error("make the key that signs tokens")]
    Make(#[source] rcgen::Error),
    /// Nothing lasts that long, or nothing at all.
    #[error("a token lasts more than 0 s and at most ten years")]
    ValidFor,
    /// Signing failed.
    #[error("sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Who a caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// May change everything.
    Admin,
    /// May fetch the configuration of this proxy.
    Dataplane(ProxyId),
}

impl Identity {
    fn kind(&self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Dataplane(_) => "dataplane",
        }
    }
}

/// Why a caller is refused. The words never hold the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No `authorization: Bearer …`.
    #[error("no token; send it as `authorization: Bearer TOKEN`")]
    Missing,
    /// Not a token of ours by its form.
    #[error("what was sent is not a token")]
    Malformed,
    /// Signed by another key, or changed.
    #[error("the token was not signed by this control plane")]
    Signature,
    /// Its time is over.
    #[error("the token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// Made while the control plane had another certificate authority.
    #[error("the token was made for another certificate authority; make a new one")]
    Authority,
    /// Of the other kind.
    #[error("this wants {wanted} token, and the token is {found} one")]
    Kind {
        /// With its article.
        wanted: &'static str,
        /// With its article.
        found: &'static str,
    },
    /// Of another mesh.
    #[error("the token is for mesh `{token}`, and the proxy is of mesh `{proxy}`")]
    Mesh {
        /// The mesh that the token names.
        token: String,
        /// The mesh that the caller named.
        proxy: String,
    },
    /// Of another proxy.
    #[error("the token is for proxy `{token}`, and the proxy is `{proxy}`")]
    Name {
        /// The proxy that the token names.
        token: String,
        /// The proxy that the caller named.
        proxy: String,
    },
}

impl Refused {
    /// Every [`kind`](Self::kind).
    pub(crate) const KINDS: [&str; 5] =
        ["missing", "malformed", "signature", "expired", "identity"];

    /// The value of the label `kind` of `ursa_cp_auth_failures_total`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Signature | Self::Authority => "signature",
            Self::Expired { .. } => "expired",
            Self::Kind { .. } | Self::Mesh { .. } | Self::Name { .. } => "identity",
        }
    }
}

/// What stands in a token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mesh: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    ca: String,
    iat: i64,
    exp: i64,
    jti: String,
}

/// Makes tokens and tells whose they are.
#[derive(Debug)]
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    authority: String,
}

impl Tokens {
    /// Reads the key of a data directory, or makes one there; without a directory, makes one that
    /// lives in memory. `authority` is the fingerprint that tokens pin.
    ///
    /// # Errors
    /// When the key's file cannot be used. It is never overwritten.
    pub fn open(dir: Option<&Path>, authority: &str) -> Result<Self, TokenError> {
        let make = || KeyPair::generate_for(&PKCS_ED25519).map_err(TokenError::Make);
        let key = match dir.map(|dir| dir.join(KEY)) {
            None => make()?,
            Some(path) => match files::read(&path)? {
                Some(pem) => KeyPair::from_pem_and_sign_algo(&pem, &PKCS_ED25519)
                    .map_err(|_| TokenError::Unreadable)?,
                None => {
                    let key = make()?;
                    files::write(&path, &key.serialize_pem())?;
                    key
                }
            },
        };
        Ok(Self {
            signing: EncodingKey::from_ed_der(key.serialized_der()),
            verifying: DecodingKey::from_ed_der(key.public_key_raw()),
            authority: authority.to_owned(),
        })
    }

    /// A token that says `identity` from `now` and for as long as given.
    ///
    /// # Errors
    /// When it would last too long or not at all.
    pub fn issue(
        &self,
        identity: &Identity,
        now: Timestamp,
        valid_for: Duration,
    ) -> Result<SecretText, TokenError> {
        if valid_for < Duration::from_secs(1) || valid_for > MAX_VALID_FOR {
            return Err(TokenError::ValidFor);
        }
        let expires = now.checked_add(valid_for).map_err(|_| TokenError::ValidFor)?;
        let (mesh, name) = match identity {
            Identity::Admin => (None, None),
            Identity::Dataplane(ProxyId { mesh, name }) => (Some(mesh.clone()), Some(name.clone())),
        };
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id)
            .map_err(|_| TokenError::Sign(ErrorKind::Signing("no randomness".to_owned()).into()))?;
        let claims = Claims {
            kind: identity.kind().to_owned(),
            mesh,
            name,
            ca: self.authority.clone(),
            iat: now.as_second(),
            exp: expires.as_second(),
            jti: hex(&id),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.signing)
            .map(SecretText::from)
            .map_err(TokenError::Sign)
    }

    /// The admin token of a data directory, renewed where it is about to expire or no longer ours;
    /// without a directory, a fresh one.
    ///
    /// # Errors
    /// When its file cannot be used.
    pub fn admin(&self, dir: Option<&Path>, now: Timestamp) -> Result<SecretText, TokenError> {
        let fresh = || self.issue(&Identity::Admin, now, ADMIN_VALID_FOR);
        let Some(path) = dir.map(|dir| dir.join(ADMIN)) else { return fresh() };
        if let Some(kept) = files::read(&path)? {
            let half_way = now.checked_add(ADMIN_VALID_FOR / 2).unwrap_or(now);
            if self.verify(kept.trim(), half_way) == Ok(Identity::Admin) {
                return Ok(SecretText::from(kept.trim().to_owned()));
            }
        }
        let token = fresh()?;
        files::write(&path, token.expose())?;
        Ok(token)
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// When it is not one of ours, or its time is over.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Identity, Refused> {
        if token.len() > MAX_TOKEN {
            return Err(Refused::Malformed);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Judged below, against the clock that was given.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => Refused::Signature,
                _ => Refused::Malformed,
            })?
            .claims;
        let at = Timestamp::from_second(claims.exp).map_err(|_| Refused::Malformed)?;
        if now >= at {
            return Err(Refused::Expired { at });
        }
        if claims.ca != self.authority {
            return Err(Refused::Authority);
        }
        match (claims.kind.as_str(), claims.mesh, claims.name) {
            ("admin", None, None) => Ok(Identity::Admin),
            ("dataplane", Some(mesh), Some(name)) => {
                Ok(Identity::Dataplane(ProxyId { mesh, name }))
            }
            _ => Err(Refused::Malformed),
        }
    }

    /// That this is an administrator's token.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify_admin(&self, token: &str, now: Timestamp) -> Result<(), Refused> {
        match self.verify(token, now)? {
            Identity::Admin => Ok(()),
            Identity::Dataplane(_) => Err(Refused::Kind { wanted: "an admin", found: "a proxy's" }),
        }
    }

    /// The proxy whose token this is.
    ///
    /// # Errors
    /// When it is not a proxy's.
    pub fn verify_dataplane(&self, token: &str, now: Timestamp) -> Result<ProxyId, Refused> {
        match self.verify(token, now)? {
            Identity::Dataplane(id) => Ok(id),
            Identity::Admin => Err(Refused::Kind { wanted: "a proxy's", found: "an admin" }),
        }
    }
}

/// The token of `authorization: Bearer TOKEN` (RFC 6750).
///
/// # Errors
/// When there is none.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Refused::Missing)?;
    let value = value.to_str().map_err(|_| Refused::Malformed)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Refused::Missing),
    }
}

/// That a proxy is the one that its token names.
///
/// # Errors
/// When it is another one.
pub(crate) fn same_proxy(token: &ProxyId, proxy: &ProxyId) -> Result<(), Refused> {
    if token.mesh != proxy.mesh {
        return Err(Refused::Mesh { token: token.mesh.clone(), proxy: proxy.mesh.clone() });
    }
    if token.name != proxy.name {
        return Err(Refused::Name { token: token.name.clone(), proxy: proxy.name.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn a_token_says_who_it_was_made_for_until_it_expires() {
        let tokens = Tokens::open(None, "pin").unwrap();
        for identity in [Identity::Admin, Identity::Dataplane(ProxyId::new("default", "a.b"))] {
            let token = tokens.issue(&identity, now(), HOUR).unwrap();
            assert_eq!(tokens.verify(token.expose(), now()), Ok(identity));
            let end = now() + HOUR;
            let expired = tokens.verify(token.expose(), end);
            assert_eq!(expired, Err(Refused::Expired { at: end }));
        }
        for wrong in [Duration::ZERO, MAX_VALID_FOR + HOUR] {
            assert!(tokens.issue(&Identity::Admin, now(), wrong).is_err());
        }
    }

    #[test]
    fn a_token_of_another_authority_or_algorithm_is_refused() {
        let tokens = Tokens::open(None, "pin").unwrap();
        let other = Tokens { authority: "other".to_owned(), ..Tokens::open(None, "").unwrap() };
        let strange = Tokens { verifying: tokens.verifying.clone(), ..other };
        let token = strange.issue(&Identity::Admin, now(), HOUR).unwrap();
        assert_eq!(tokens.verify(token.expose(), now()), Err(Refused::Signature));
        let same_key = Tokens {
            signing: tokens.signing.clone(),
            verifying: tokens.verifying.clone(),
            authority: "other".to_owned(),
        };
        let token = same_key.issue(&Identity::Admin, now(), HOUR).unwrap();
        assert_eq!(tokens.verify(token.expose(), now()), Err(Refused::Authority));
        // {"alg":"none","typ":"JWT"} . {"kind":"admin", …} .
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJraW5kIjoiYWRtaW4iLCJjYSI6InBpbiIsImlhdCI6MCwiZXhwIjoxOTAwMDAwMDAwLCJqdGkiOiIifQ.";
        assert_eq!(tokens.verify(none, now()), Err(Refused::Malformed));
        assert_eq!(tokens.verify(&"x".repeat(1 << 20), now()), Err(Refused::Malformed));
    }

    #[test]
    fn a_token_is_found_behind_its_scheme() {
        for (value, found) in [
            ("Bearer a.b", Ok("a.b")),
            ("bearer  a.b ", Ok("a.b")),
            ("Bearer ", Ok("")),
            ("Bearer", Err(Refused::Missing)),
            ("Basic a.b", Err(Refused::Missing)),
            ("Bearer \u{e9}", Err(Refused::Malformed)),
        ] {
            let value = header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            assert_eq!(bearer(&[(header::AUTHORIZATION, value)].into_iter().collect()), found);
        }
        assert_eq!(bearer(&HeaderMap::new()), Err(Refused::Missing));
    }

    #[test]
    fn the_admin_token_is_kept_and_renewed_half_way() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(Some(dir.path()), "pin").unwrap();
        let first = tokens.admin(Some(dir.path()), now()).unwrap();
        assert_eq!(tokens.admin(Some(dir.path()), now() + HOUR).unwrap(), first);
        let later = now() + ADMIN_VALID_FOR / 2 + HOUR;
        let renewed = tokens.admin(Some(dir.path()), later).unwrap();
        assert_ne!(renewed, first);
        assert_eq!(
            tokens.verify(renewed.expose(), later + ADMIN_VALID_FOR / 2),
            Ok(Identity::Admin)
        );
    }
}
