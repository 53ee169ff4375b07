//! Where a pipeline's configuration may hold a credential in clear: its backends' `headers` and
//! `auth`. What stands there by name (`${…}`) is no secret and is shown.

use serde_json::Value as Json;

/// Stands where a credential was.
pub(crate) const REDACTED: &str = "[redacted]";

/// Shorter ones would be found by chance in names and addresses.
const MIN_TELLING_LENGTH: usize = 8;

/// Whether a header of this name carries a credential, as far as names tell.
pub(crate) fn is_telling(header: &str) -> bool {
    const WORDS: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];
    let header = header.to_ascii_lowercase();
    WORDS.iter().any(|word| header.contains(word))
}

/// Hides what stands in clear in the headers and credentials of any backend inside `pipeline`.
pub(crate) fn redact(pipeline: &mut Json) {
    match pipeline {
        Json::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "headers" | "auth" => redact_all(field),
                    _ => redact(field),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn redact_all(json: &mut Json) {
    match json {
        Json::String(text) if !text.contains("${") => REDACTED.clone_into(text),
        // The name of the header that carries an API key.
        Json::Object(fields) => {
            fields
                .iter_mut()
                .filter(|(name, _)| *name != "header")
                .for_each(|(_, f)| redact_all(f));
        }
        Json::Array(items) => items.iter_mut().for_each(redact_all),
        _ => {}
    }
}

/// The credentials that stand in clear inside `pipeline`.
pub(crate) fn in_clear(pipeline: &Json) -> Vec<String> {
    let mut found = Vec::new();
    find(pipeline, &mut found);
    found
}

fn find(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field) {
                    ("auth", auth) => find_all(auth, found),
                    ("headers", Json::Object(headers)) => headers
                        .iter()
                        .filter(|(name, _)| is_telling(name))
                        .for_each(|(_, value)| find_all(value, found)),
                    _ => find(field, found),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| find(item, found)),
        _ => {}
    }
}

fn find_all(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::String(text) if !text.contains("${") && text.len() >= MIN_TELLING_LENGTH => {
            found.push(text.clone());
        }
        Json::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "header")
            .for_each(|(_, field)| find_all(field, found)),
        _ => {}
    }
}
