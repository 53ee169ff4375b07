//! Credentials and query strings in URLs: in attributes that are known to hold one, and wherever
//! `scheme://` is in another text, in a list of texts, in a span's name or in a log's body.
//!
//! Semantic conventions, `url.full`: credentials are redacted as `REDACTED:REDACTED@`, values of
//! sensitive query parameters as `REDACTED`.
//!
//! A URL within a longer text ends before a blank, a quote (`"`, `` ` ``) or an angle bracket. A text
//! that begins with one is taken for nothing else. Either way another one may begin before its query,
//! as in lists of servers: `amqp://a,amqp://user:password@b`.
//!
//! Not here: what is said in a log's body without a URL, such as `GET /p?a=1`; maps.

use ursa_model::pipeline::processor::{QueryRedaction, RedactUrls};

use super::list::{self, List, State, Value};
use crate::wire::fields::put_bytes;
use crate::wire::{Fields, Value as Wire, urls};

/// `AnyValue.string_value`, `AnyValue.array_value`, `ArrayValue.values`.
const STRING_VALUE: u32 = 1;
const ARRAY_VALUE: u32 = 5;
const ARRAY_VALUES: u32 = 1;
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

    /// Whether an attribute of that key holds a URL, or a part of one, whatever it begins with.
    #[inline]
    fn holds_url(&self, key: &[u8]) -> bool {
        urls::holds_url(key) || !self.also.is_empty() && self.also.iter().any(|other| other == key)
    }

    /// Whether there are keys of URLs besides those that all know.
    pub(super) fn has_own_keys(&self) -> bool {
        !self.also.is_empty()
    }

    /// `plain`: no value that came with the request is one with something to redact.
    pub(super) fn apply(&self, list: &mut List<'_>, plain: bool) {
        let plain = plain && !self.has_own_keys();
        for attribute in &mut list.all {
            let is_plain = plain && matches!(attribute.value, Value::Raw(_));
            if attribute.state == State::Removed || is_plain {
                continue;
            }
            let at = list.made.len();
            let (redacted, new) = match attribute.value.text(&list.made) {
                Some(text) => (self.attribute(attribute.key, text), Value::Made(at)),
                None => {
                    let items = attribute.value.list(&list.made);
                    let redacted = items.and_then(|items| self.list(&items));
                    (redacted, Value::Joined(at))
                }
            };
            if let Some(redacted) = redacted {
                attribute.put(new);
                list.made.push(redacted);
                list.changed = true;
            }
        }
    }

    /// An attribute's redacted text, if it differs.
    #[inline]
    pub(super) fn attribute(&self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        if begins_with_scheme(text) || self.holds_url(key) {
            return self.redact(key, text);
        }
        self.within(text)
    }

    /// A text with the URLs in it redacted, if it differs.
    #[inline]
    fn within(&self, text: &[u8]) -> Option<Vec<u8>> {
        urls::scheme_end(text).and_then(|end| self.within_from(text, end))
    }

    /// The same, of which the first scheme ends there.
    #[cold]
    fn within_from(&self, text: &[u8], first: usize) -> Option<Vec<u8>> {
        let (mut out, mut copied, mut from) = (Vec::new(), 0_usize, 0_usize);
        let mut scheme_end = Some(first);
        while let Some(at) = scheme_end {
            let before = text.get(from..at).unwrap_or_default();
            let scheme = before.iter().rev().take_while(|byte| is_of_scheme(**byte)).count();
            from = at.saturating_add(3);
            if scheme > 0 {
                let start = at.saturating_sub(scheme);
                let rest = text.get(start..).unwrap_or_default();
                let length = rest.iter().position(|byte| ends_url(*byte)).unwrap_or(rest.len());
                from = start.saturating_add(length);
                if let Some(redacted) = self.redact(&[], rest.get(..length).unwrap_or_default()) {
                    out.extend_from_slice(text.get(copied..start).unwrap_or_default());
                    out.extend_from_slice(&redacted);
                    copied = from;
                }
            }
            let rest = text.get(from..).unwrap_or_default();
            scheme_end = urls::scheme_end(rest).map(|end| from.saturating_add(end));
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        Some(out)
    }

    /// A text that is no attribute, with the URLs in it redacted, if it differs.
    pub(super) fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.attribute(&[], text)
    }

    /// An `AnyValue` that is a text with the URLs in it redacted, if it differs.
    pub(super) fn body(&self, any: &[u8]) -> Option<Vec<u8>> {
        let redacted = self.text(list::text(any)?)?;
        let mut any = Vec::with_capacity(redacted.len().saturating_add(8));
        put_bytes(&mut any, STRING_VALUE, &redacted);
        Some(any)
    }

    /// An `AnyValue` with this `ArrayValue`, its texts redacted, if any differs.
    fn list(&self, list: &[u8]) -> Option<Vec<u8>> {
        let (mut items, mut changed) = (Vec::with_capacity(list.len()), false);
        for item in Fields::new(list) {
            let item = item.ok()?;
            let text = match (item.number, item.value) {
                (ARRAY_VALUES, Wire::Bytes(any)) => list::text(any),
                _ => None,
            };
            match text.and_then(|text| self.text(text)) {
                Some(redacted) => {
                    let mut any = Vec::with_capacity(redacted.len().saturating_add(8));
                    put_bytes(&mut any, STRING_VALUE, &redacted);
                    put_bytes(&mut items, ARRAY_VALUES, &any);
                    changed = true;
                }
                None => items.extend_from_slice(item.raw),
            }
        }
        let mut any = Vec::with_capacity(items.len().saturating_add(8));
        put_bytes(&mut any, ARRAY_VALUE, &items);
        changed.then_some(any)
    }

    /// A span's name with its words redacted that hold URLs or are paths, if it differs.
    pub(super) fn name(&self, name: &[u8]) -> Option<Vec<u8>> {
        let suspect = |text: &[u8]| text.iter().any(|byte| matches!(byte, b'?' | b'@'));
        if !suspect(name) {
            return None;
        }
        let (mut out, mut changed) = (Vec::with_capacity(name.len()), false);
        for (index, word) in name.split(|byte| *byte == b' ').enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            let redacted = match word {
                _ if !suspect(word) => None,
                [b'/', ..] => self.redact(&[], word),
                _ => self.text(word),
            };
            match redacted {
                Some(redacted) => {
                    out.extend_from_slice(&redacted);
                    changed = true;
                }
                None => out.extend_from_slice(word),
            }
        }
        changed.then_some(out)
    }

    fn redact(&self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let whole = match key {
            b"url.query" | b"http.query.string" => Some(self.query(text)?),
            b"url.fragment" | b"http.fragment.string" => Some(self.fragment(text)?),
            _ => None,
        };
        if let Some(redacted) = whole {
            return (redacted != text).then_some(redacted);
        }
        let tail = text.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let head = text.get(..tail.unwrap_or(text.len())).unwrap_or_default();
        match next_url(head) {
            None => self.url(text),
            Some(next) => self.urls(text, head, next),
        }
    }

    /// Several URLs with nothing between them that ends one. `head` is what comes before a query or
    /// fragment, in which nothing begins; `next` is where the second one does.
    #[cold]
    fn urls(&self, mut text: &[u8], mut head: &[u8], next: usize) -> Option<Vec<u8>> {
        let (mut out, mut changed) = (Vec::with_capacity(text.len()), false);
        let mut next = Some(next);
        loop {
            let (url, rest) = text.split_at_checked(next.unwrap_or(text.len()))?;
            match self.url(url) {
                Some(redacted) => {
                    out.extend_from_slice(&redacted);
                    changed = true;
                }
                None => out.extend_from_slice(url),
            }
            let Some(at) = next else { return changed.then_some(out) };
            (text, head) = (rest, head.get(at..)?);
            next = next_url(head);
        }
    }

    /// One URL, or a part of one.
    fn url(&self, text: &[u8]) -> Option<Vec<u8>> {
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
                    _ => out.extend_from_slice(&self.fragment(tail).unwrap_or_default()),
                }
            }
            _ => out.extend_from_slice(rest),
        }
        (out != text).then_some(out)
    }

    /// A fragment, redacted; none if there is nothing to redact.
    fn fragment(&self, fragment: &[u8]) -> Option<Vec<u8>> {
        let redacts = self.query != QueryRedaction::Keep && !fragment.is_empty();
        redacts.then(|| REDACTED.to_vec())
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

/// Authority and what comes after it: what follows the first `//` if no other slash is before it, or
/// all of the text.
fn authority(text: &[u8]) -> &[u8] {
    let path = text.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    match path.and_then(|at| text.get(at..)) {
        Some([b'/', b'/', rest @ ..]) => rest,
        _ => text,
    }
}

/// Where in a URL without its query another one begins, as in `http://a,http://b`.
fn next_url(head: &[u8]) -> Option<usize> {
    let mut from = head.len().saturating_sub(authority(head).len());
    loop {
        let rest = head.get(from..)?;
        let end = urls::scheme_end(rest)?;
        let before = rest.get(..end)?.iter().rev();
        let scheme = before.take_while(|byte| is_of_scheme(**byte)).count();
        let end = from.saturating_add(end);
        if scheme > 0 {
            return Some(end.saturating_sub(scheme));
        }
        from = end.saturating_add(3);
    }
}

/// What a scheme, or several as in `jdbc:mysql`, is written with.
#[inline]
fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b':')
}

/// What no URL has, and what commonly stands around one.
fn ends_url(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'"' | b'`' | b'<' | b'>' | 0x7f)
}

/// Whether it begins with `scheme://`, or with several schemes as in `jdbc:mysql://`.
#[inline]
fn begins_with_scheme(text: &[u8]) -> bool {
    // Without a branch for each byte: this looks at every text there is.
    let head = text.get(..urls::SCHEME_BYTES).unwrap_or(text);
    if head.iter().fold(0, |colons, byte| colons | u8::from(*byte == b':')) == 0 {
        return false;
    }
    let end = head.windows(3).position(|window| window == b"://");
    let scheme = end.and_then(|end| head.get(..end)).unwrap_or_default();
    scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| is_of_scheme(*byte))
}
