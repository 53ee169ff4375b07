//! Headers of a request, with names filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncReadExt;
use ursa_model::SecretText;
use ursa_model::backend::DeliveryOptions;
use ursa_model::substitution::{Part, Substitution};

/// Largest file that a header is filled from.
const MAX_FILE: u64 = 64 << 10;
/// What stands in messages where a secret stood.
const REDACTED: &str = "[redacted]";
/// Shorter values are not looked for in messages: they would blot out harmless text.
const MIN_REDACTED: usize = 4;

/// Where names in headers get their values from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Values {
    environment: Arc<BTreeMap<String, SecretText>>,
    /// Secret resources by name.
    secrets: BTreeMap<String, SecretText>,
}

impl Values {
    pub(crate) fn new(
        environment: Arc<BTreeMap<String, SecretText>>,
        secrets: BTreeMap<String, SecretText>,
    ) -> Self {
        Self { environment, secrets }
    }

    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(SecretText::expose).filter(|value| !value.is_empty())
    }
}

/// The headers of a backend as they were written.
#[derive(Debug)]
pub(super) struct Credentials {
    headers: Vec<(String, Substitution)>,
    basic: Option<(Substitution, Substitution)>,
    values: Values,
}

/// Headers ready to be sent, and what must not be seen of them.
pub(super) struct Filled {
    pub(super) headers: HeaderMap,
    secrets: Vec<SecretText>,
}

impl Credentials {
    pub(super) fn new(options: &DeliveryOptions, values: Values) -> Self {
        let mut headers: Vec<(String, Substitution)> =
            options.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut basic = None;
        if let Some(auth) = &options.auth {
            if let Some(token) = &auth.bearer_token {
                let bearer = Substitution::new(format!("Bearer {}", token.written()));
                headers.push((AUTHORIZATION.as_str().to_owned(), bearer));
            }
            if let Some(key) = &auth.api_key {
                headers.push((key.header.clone(), key.value.clone()));
            }
            basic =
                auth.basic.as_ref().map(|basic| (basic.username.clone(), basic.password.clone()));
        }
        Self { headers, basic, values }
    }

    /// Fills in all names, or says which has no value.
    pub(super) async fn fill(&self) -> Result<Filled, String> {
        let mut filled = Filled { headers: HeaderMap::new(), secrets: Vec::new() };
        for (name, value) in &self.headers {
            let value = self.value(name, value, &mut filled.secrets).await?;
            filled.insert(name, value.expose())?;
        }
        if let Some((username, password)) = &self.basic {
            let username = self.value("auth.basic.username", username, &mut filled.secrets).await?;
            let password = self.value("auth.basic.password", password, &mut filled.secrets).await?;
            let pair = format!("{}:{}", username.expose(), password.expose());
            let encoded = STANDARD.encode(pair);
            filled.insert(AUTHORIZATION.as_str(), &format!("Basic {encoded}"))?;
            filled.secrets.push(SecretText::new(encoded));
        }
        Ok(filled)
    }

    async fn value(
        &self,
        of: &str,
        value: &Substitution,
        secrets: &mut Vec<SecretText>,
    ) -> Result<SecretText, String> {
        let explain = |error: &dyn std::fmt::Display| format!("{of}: {error}");
        let mut found = BTreeMap::new();
        for part in value.parts().map_err(|error| explain(&error))? {
            let key = part.to_string();
            let text = match part {
                Part::Text(text) => {
                    // "Bearer " alone is no secret; what else stands in clear may be one.
                    secrets.extend(text.split_whitespace().map(SecretText::new));
                    continue;
                }
                Part::Env(name) => self.values.environment(&name).map(ToOwned::to_owned),
                Part::Secret(name) => {
                    self.values.secrets.get(&name).map(|text| text.expose().to_owned())
                }
                Part::File(path) => {
                    Some(read(&path).await.map_err(|error| explain(&format!("{key}: {error}")))?)
                }
            };
            if let Some(text) = text {
                secrets.push(SecretText::new(text.clone()));
                found.insert(key, text);
            }
        }
        let filled = value.fill(|part| found.get(&part.to_string()).cloned());
        filled.map_err(|error| explain(&error))
    }
}

/// A file's text, less the line break at its end.
async fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(MAX_FILE).read_to_string(&mut text).await?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

impl Filled {
    fn insert(&mut self, name: &str, value: &str) -> Result<(), String> {
        let header = HeaderName::try_from(name)
            .map_err(|_| format!("{name:?} is not the name of a header"))?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("{name}: the value has characters that a header cannot hold"))?;
        value.set_sensitive(true);
        self.headers.insert(header, value);
        Ok(())
    }

    /// `message` without the values that were filled in.
    pub(super) fn redact(&self, message: String) -> String {
        let telling = |text: &&str| text.len() >= MIN_REDACTED && *text != "Bearer";
        let mut secrets: Vec<_> =
            self.secrets.iter().map(SecretText::expose).filter(telling).collect();
        // One may begin another, which then goes first, whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(message, |message, secret| message.replace(secret, REDACTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(spec: serde_json::Value) -> Credentials {
        let environment = BTreeMap::from([("TOKEN".to_owned(), SecretText::new("t0ps3cret"))]);
        let secrets = BTreeMap::from([("key".to_owned(), SecretText::new("k3yk3y"))]);
        let options = serde_json::from_value(spec).unwrap();
        Credentials::new(&options, Values::new(Arc::new(environment), secrets))
    }

    #[tokio::test]
    async fn names_are_filled_in() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "fr0mfile\n").unwrap();
        let path = file.path().display();
        let credentials = credentials(serde_json::json!({
            "headers": {"X-Plain": "a$$b", "x-mixed": format!("${{TOKEN}}/${{file:{path}}}")},
            "auth": {"apiKey": {"header": "X-Key", "value": "${secret:key}"}},
        }));
        let filled = credentials.fill().await.unwrap();
        assert_eq!(filled.headers["x-plain"], "a$b");
        assert_eq!(filled.headers["x-mixed"], "t0ps3cret/fr0mfile");
        assert_eq!(filled.headers["x-key"], "k3yk3y");
        let message = "denied: t0ps3cret/fr0mfile with k3yk3y".to_owned();
        assert_eq!(filled.redact(message), "denied: [redacted]/[redacted] with [redacted]");
        assert_eq!(filled.redact("k3yk3yk3y".into()), "[redacted]k3y");
        assert!(!format!("{credentials:?} {:?}", filled.headers).contains("3cret"));
    }

    #[tokio::test]
    async fn authorization_is_bearer_or_basic() {
        let bearer = credentials(serde_json::json!({"auth": {"bearerToken": "${TOKEN}"}}));
        assert_eq!(bearer.fill().await.unwrap().headers["authorization"], "Bearer t0ps3cret");
        let basic = credentials(serde_json::json!({
            "auth": {"basic": {"username": "me", "password": "${secret:key}"}},
        }));
        let filled = basic.fill().await.unwrap();
        assert_eq!(filled.headers["authorization"], "Basic bWU6azN5azN5");
        assert_eq!(filled.redact("got bWU6azN5azN5".into()), "got [redacted]");
    }

    #[tokio::test]
    async fn what_has_no_value_is_named() {
        for (value, expected) in [
            ("${NONE}", "x-a: ${NONE} is not set"),
            ("${secret:none}", "x-a: ${secret:none} is not set"),
            ("${file:/none}", "x-a: ${file:/none}: No such file or directory (os error 2)"),
        ] {
            let credentials = credentials(serde_json::json!({"headers": {"x-a": value}}));
            assert_eq!(credentials.fill().await.err().unwrap(), expected);
        }
    }
}
