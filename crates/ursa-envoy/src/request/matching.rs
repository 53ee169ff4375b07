//! Which requests a route, or a filter's header, means.

use regex::Regex;

use super::Request;
use crate::proxy::{HeaderMatch, HeaderValue, PathMatch, RequestMatch};

/// Whether `request` is meant.
pub fn matches(wanted: &RequestMatch, request: &Request) -> bool {
    let RequestMatch { path, method, headers } = wanted;
    path_matches(path, &request.path)
        && method.as_ref().is_none_or(|method| *method == request.method)
        && headers.iter().all(|header| header_matches(header, request))
}

/// Envoy compares without the query.
fn path_matches(wanted: &PathMatch, path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    match wanted {
        PathMatch::Prefix(prefix) => path.starts_with(prefix.as_str()),
        PathMatch::Segments(segments) => {
            let segments = segments.trim_end_matches('/');
            path.strip_prefix(segments).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Regex(regex) => whole(regex, path),
    }
}

pub(super) fn header_matches(wanted: &HeaderMatch, request: &Request) -> bool {
    let value = request.header(&wanted.name);
    match (&wanted.value, value) {
        (HeaderValue::Absent, value) => value.is_none(),
        (_, None) => false,
        (HeaderValue::Present, Some(_)) => true,
        (HeaderValue::Exact(exact), Some(value)) => value == *exact,
        (HeaderValue::Prefix(prefix), Some(value)) => value.starts_with(prefix.as_str()),
        (HeaderValue::Regex(regex), Some(value)) => whole(regex, &value),
    }
}

/// Whether an expression takes in all of a text. One that does not compile takes in nothing; Envoy would have refused it.
fn whole(regex: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{regex})$")).is_ok_and(|regex| regex.is_match(text))
}
