//! Credentials and query strings in URLs.
//!
//! Semantic conventions, `url.full`: credentials are redacted as `REDACTED:REDACTED@`, values of
//! sensitive query parameters as `REDACTED`.

use ursa_model::pipeline::processor::{QueryRedaction, RedactUrls};

use super::list::{List, State, Value};

/// What stands for what was there.
pub(super) const REDACTED: &[u8] = b"REDACTED";

/// How URLs are redacted.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    query: QueryRedaction,
    credentials: bool,
    also: Vec<Vec<u8>>,
}

impl Urls {
    pub(super) fn new(spec: &RedactUrls) -> Self {
        Self {
            query: spec.query.unwrap_or_default(),
            credentials: spec.credentials.unwrap_or(true),
            also: spec.also.iter().map(|key| key.clone().into_bytes()).collect(),
        }
    }

    pub(super) fn does_nothing(&self) -> bool {
        self.query == QueryRedaction::Keep && !self.credentials
    }

    /// Whether an attribute of that key holds a URL, or a part of one.
    #[inline]
    pub(super) fn holds_url(&self, key: &[u8]) -> bool {
        let known = match key.len() {
            8 => matches!(key, b"http.url" | b"url.full" | b"url.path"),
            9 => key == b"url.query",
            11 => key == b"http.target",
            12 => key == b"url.original",
            _ => false,
        };
        known || !self.also.is_empty() && self.also.iter().any(|other| other == key)
    }

    pub(super) fn apply(&self, list: &mut List<'_>) {
        for attribute in &mut list.all {
            if attribute.state != State::Removed
                && self.holds_url(attribute.key)
                && let Some(text) = attribute.value.text(&list.made)
                && let Some(redacted) = self.redact(attribute.key, text)
            {
                attribute.put(Value::Made(list.made.len()));
                list.made.push(redacted);
                list.changed = true;
            }
        }
    }

    /// The redacted text, if it differs.
    pub(super) fn redact(&self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        if key == b"url.query" {
            let redacted = self.query(text)?;
            return (redacted != text).then_some(redacted);
        }
        let rest = authority(text);
        let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        let (authority, rest) = rest.split_at(path.unwrap_or(rest.len()));
        let after = authority.len().saturating_add(rest.len());
        let start = text.get(..text.len().saturating_sub(after)).unwrap_or_default();
        let host = authority.iter().rposition(|byte| *byte == b'@').filter(|_| self.credentials);
        let tail = rest.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let tail = tail.filter(|_| self.query != QueryRedaction::Keep);
        if host.is_none() && tail.is_none() {
            return None;
        }
        let mut out = Vec::with_capacity(text.len().saturating_add(32));
        out.extend_from_slice(start);
        match host.and_then(|at| authority.split_at_checked(at)) {
            Some((user, host)) => {
                out.extend_from_slice(REDACTED);
                if user.contains(&b':') {
                    out.push(b':');
                    out.extend_from_slice(REDACTED);
                }
                out.extend_from_slice(host);
            }
            None => out.extend_from_slice(authority),
        }
        match tail.and_then(|at| rest.split_at_checked(at)) {
            Some((path, [mark, tail @ ..])) => {
                out.extend_from_slice(path);
                out.push(*mark);
                match mark {
                    b'?' => out.extend_from_slice(&self.query(tail).unwrap_or_default()),
                    _ if tail.is_empty() => {}
                    _ => out.extend_from_slice(REDACTED),
                }
            }
            _ => out.extend_from_slice(rest),
        }
        (out != text).then_some(out)
    }

    /// A query string and what comes after it, redacted; none if there is nothing to redact.
    fn query(&self, query: &[u8]) -> Option<Vec<u8>> {
        if query.is_empty() {
            return None;
        }
        match self.query {
            QueryRedaction::Keep => None,
            QueryRedaction::Redact => Some(REDACTED.to_vec()),
            QueryRedaction::Values => {
                let fragment = query.iter().position(|byte| *byte == b'#');
                let (query, fragment) = query.split_at(fragment.unwrap_or(query.len()));
                let mut out = Vec::with_capacity(query.len());
                for (index, pair) in query.split(|byte| *byte == b'&').enumerate() {
                    if index > 0 {
                        out.push(b'&');
                    }
                    let end = pair.iter().position(|byte| *byte == b'=');
                    let (name, value) = pair.split_at(end.map_or(0, |end| end.saturating_add(1)));
                    out.extend_from_slice(name);
                    if !value.is_empty() {
                        out.extend_from_slice(REDACTED);
                    }
                }
                if fragment.len() > 1 {
                    out.push(b'#');
                    out.extend_from_slice(REDACTED);
                } else {
                    out.extend_from_slice(fragment);
                }
                Some(out)
            }
        }
    }
}

/// What follows `scheme://` or a leading `//`; without these there is no authority, and the path
/// alone is given.
fn authority(text: &[u8]) -> &[u8] {
    let path = text.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    match path.and_then(|at| text.get(at..)) {
        Some([b'/', b'/', rest @ ..]) => rest,
        Some(path) => path,
        None => text.get(text.len()..).unwrap_or_default(),
    }
}
