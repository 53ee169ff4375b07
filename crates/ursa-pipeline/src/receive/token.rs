//! Bearer tokens of senders (RFC 6750).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ursa_model::SecretText;

use super::problem::Problem;

const SCHEME: &[u8] = b"bearer";

/// Refuses requests that do not carry the token, if there is one.
pub(super) fn check(token: Option<&SecretText>, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = token else { return Ok(()) };
    let Some(value) = headers.get(AUTHORIZATION) else { return Err(Problem::NoToken) };
    let said = value.as_bytes().split_at_checked(SCHEME.len());
    let said = said.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
    let said = said.and_then(|(_, said)| said.strip_prefix(b" ")).ok_or(Problem::NoToken)?;
    // Takes as long for every wrong token of that length. A token of no length is nobody's.
    let (said, token) = (said.trim_ascii(), token.expose().as_bytes());
    match verify_slices_are_equal(said, token) {
        Ok(()) if !token.is_empty() => Ok(()),
        _ => Err(Problem::WrongToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_let_in() {
        let token = SecretText::new("t0ken");
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
            let said =
                check(Some(&token), &headers).map_or_else(|p| p.to_string(), |()| String::new());
            assert!(said.contains(says) && says.is_empty() == said.is_empty(), "{value:?}: {said}");
            check(None, &headers).unwrap();
            check(Some(&SecretText::new("")), &headers).unwrap_err();
        }
    }
}
