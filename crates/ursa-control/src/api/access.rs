//! Who may use the API.
//!
//! On loopback: whoever is on this machine. So that a web page in a browser on this machine is not
//! taken for the person before it, requests must name loopback, or the name that this control plane
//! was given, as their host (against DNS rebinding), and come from no other origin. On any other
//! address: who shows an admin token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::problem::Problem;
use crate::metrics::Metrics;
use crate::tokens::{Tokens, bearer};

/// What a request must show.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// None on loopback.
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// The name by which others reach this machine, say through a forwarded port.
    pub(crate) hostname: Arc<str>,
    pub(crate) metrics: Metrics,
}

/// Lets a request through, or not.
pub(crate) async fn admit(State(access): State<Access>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let admitted = match &access.tokens {
        None => from_this_machine(request.uri(), headers, &access.hostname),
        Some(_) if is_public(request.uri().path()) => Ok(()),
        Some(tokens) => bearer(headers)
            .and_then(|token| tokens.verify_admin(token, Timestamp::now()))
            .map_err(|refused| {
                access.metrics.turned_away(refused.kind());
                tracing::warn!(why = %refused, "an API request was refused");
                let status = match refused.kind() {
                    "identity" => StatusCode::FORBIDDEN,
                    _ => StatusCode::UNAUTHORIZED,
                };
                Problem::new(status, "Access denied", refused.to_string())
            }),
    };
    match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What tells nothing: the page without its data, and probes.
fn is_public(path: &str) -> bool {
    path == "/healthy" || path == "/ready" || path == "/gui" || path.starts_with("/gui/")
}

/// The host that a request names, with the port: HTTP/2 has it in the URI.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let header = || headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    uri.authority().map(Authority::as_str).or_else(header)
}

fn from_this_machine(uri: &Uri, headers: &HeaderMap, hostname: &str) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(StatusCode::FORBIDDEN, "Access denied", detail));
    let host = host(uri, headers);
    if host.is_some_and(|host| !is_ours(host, hostname)) {
        return refuse(
            "the API listens on loopback; use `localhost`, the address, or the control plane's \
             `--hostname` as host",
        );
    }
    let same = |origin: &str| {
        let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        origin.is_some() && origin == host
    };
    match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default()) {
        Some(origin) if !same(origin) => refuse("requests of other web pages are not answered"),
        _ => Ok(()),
    }
}

/// `localhost` or a name below it (RFC 6761), 127.0.0.0/8, ::1, or the given name; with or without
/// a port.
fn is_ours(host: &str, hostname: &str) -> bool {
    let end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    if !(port.is_empty() || port.starts_with(':')) {
        return false;
    }
    let name = name.to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name.ends_with(".localhost")
        || name.eq_ignore_ascii_case(hostname)
        || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_have_are_ours() {
        for host in [
            "localhost",
            "LocalHost:5681",
            "ursa.localhost:1",
            "127.0.0.1",
            "127.1.2.3:5681",
            "[::1]",
            "[::1]:5681",
            "ursa.example",
            "Ursa.Example:5681",
        ] {
            assert!(is_ours(host, "ursa.example"), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "10.0.0.1",
            "x.ursa.example",
        ] {
            assert!(!is_ours(host, "ursa.example"), "{host}");
        }
    }

    #[test]
    fn the_host_of_http_2_counts_as_well() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let none = HeaderMap::new();
        assert!(from_this_machine(&uri("http://evil.example/meshes"), &none, "x").is_err());
        assert!(from_this_machine(&uri("http://localhost:1/meshes"), &none, "x").is_ok());
        let unreadable = header::HeaderValue::from_bytes(b"\xff").unwrap();
        let headers = [(header::HOST, unreadable)].into_iter().collect();
        assert!(from_this_machine(&uri("/meshes"), &headers, "x").is_err());
    }
}
