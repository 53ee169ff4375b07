//! Which requests a route, or a filter's header, means.

use regex::Regex;

use super::Request;
use crate::proxy::{HeaderMatch, HeaderValue, PathMatch, QueryMatch, QueryValue, RequestMatch};

/// Whether `request` is meant.
pub fn matches(wanted: &RequestMatch, request: &Request) -> bool {
    let RequestMatch { path, method, headers, query } = wanted;
    path_matches(path, &request.path)
        && method.as_ref().is_none_or(|method| *method == request.method)
        && headers.iter().all(|header| header_matches(header, request))
        && query.iter().all(|parameter| parameter_matches(parameter, &request.path))
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

/// Of a parameter that stands there several times Envoy looks at the first, and it decodes nothing.
fn parameter_matches(wanted: &QueryMatch, path: &str) -> bool {
    let path = path.split('#').next().unwrap_or_default();
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.find(|(name, _)| *name == wanted.name).map(|(_, value)| value);
    value.is_some_and(|value| match &wanted.value {
        QueryValue::Exact(exact) => value == exact,
        QueryValue::Regex(regex) => whole(regex, value),
    })
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
