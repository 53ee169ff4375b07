//! Who may use the API.
//!
//! On loopback: whoever is on this machine. So that a web page in a browser on this machine is not
//! taken for the person before it, requests must name loopback as their host (against DNS
//! rebinding) and come from no other origin. On any other address: who shows an admin token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;

use super::problem::Problem;
use crate::metrics::Metrics;
use crate::tokens::{Refused, Tokens};

/// What a request must show.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// None on loopback.
    pub(crate) tokens: Option<Arc<Tokens>>,
    pub(crate) metrics: Metrics,
}

/// Lets a request through, or not.
pub(crate) async fn admit(State(access): State<Access>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let admitted = match &access.tokens {
        None => from_this_machine(headers),
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

fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let value = headers.get(header::AUTHORIZATION).ok_or(Refused::Missing)?;
    let value = value.to_str().map_err(|_| Refused::Malformed)?;
    value.strip_prefix("Bearer ").map(str::trim).ok_or(Refused::Missing)
}

fn from_this_machine(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let refuse = |detail: &str| Err(Problem::new(StatusCode::FORBIDDEN, "Access denied", detail));
    let host = text(header::HOST);
    if host.is_some_and(|host| !is_loopback(host)) {
        return refuse("the API listens on loopback; use `localhost` or the address as host");
    }
    let same = |origin: &str| {
        let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        origin.is_some() && origin == host
    };
    match text(header::ORIGIN) {
        Some(origin) if !same(origin) => refuse("requests of other web pages are not answered"),
        _ => Ok(()),
    }
}

/// `localhost`, 127.0.0.0/8 or ::1, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
