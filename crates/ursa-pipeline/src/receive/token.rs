//! Bearer tokens of senders (RFC 6750).

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ursa_model::SecretText;

use super::problem::Problem;

const SCHEME: &[u8] = b"bearer";

/// What senders must show. Clones are the same: a token that is put in place of another counts from the
/// next request on.
#[derive(Debug, Clone)]
pub struct Token(Arc<RwLock<SecretText>>);

impl Token {
    /// A token; one of no length is nobody's.
    pub fn new(token: SecretText) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// Puts another in its place. Whether it is another.
    pub fn set(&self, token: SecretText) -> bool {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let differs = *now != token;
        *now = token;
        differs
    }

    /// Refuses requests that do not carry it.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(value) = headers.get(AUTHORIZATION) else { return Err(Problem::NoToken) };
        let said = value.as_bytes().split_at_checked(SCHEME.len());
        let said = said.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
        let said = said.and_then(|(_, said)| said.strip_prefix(b" ")).ok_or(Problem::NoToken)?;
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Takes as long for every wrong token of that length.
        let (said, token) = (said.trim_ascii(), token.expose().as_bytes());
        match verify_slices_are_equal(said, token) {
            Ok(()) if !token.is_empty() => Ok(()),
            _ => Err(Problem::WrongToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_let_in() {
        let token = Token::new(SecretText::new("t0ken"));
        for (value, says) in [
            (None, "no bearer token"),
            (Some("Basic dTpw"), "no bearer token"),
            (Some("bearer"), "no bearer token"),
            (Some("Bearert0ken"), "no bearer token"),
            (Some("Bearer t0kem"), "another bearer token"),
            (Some("Bearer t0ken0"), "another bearer token"),
            (Some("Bearer "), "another bearer token"),
            (Some("Bearer t0ken"), ""),
            (Some("bearer  t0ken"), ""),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (AUTHORIZATION, value.parse().unwrap())));
            let said = token.check(&headers).map_or_else(|p| p.to_string(), |()| String::new());
            assert!(said.contains(says) && says.is_empty() == said.is_empty(), "{value:?}: {said}");
            Token::new(SecretText::new("")).check(&headers).unwrap_err();
        }
        assert!(token.clone().set(SecretText::new("an0ther")));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, "bearer an0ther".parse().unwrap())]);
        token.check(&headers).unwrap();
    }
}
