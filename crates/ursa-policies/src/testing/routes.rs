//! Routes of MeshHTTPRoutes as text.

use std::fmt::Write as _;

use ursa_envoy::proxy::{
    Forward, HeaderChanges, HttpListener, Listener, ListenerKind, Redirect, Route, RouteAction,
};

use super::requests;

/// `None`: it has none.
pub(super) fn of_listener(listener: &Listener) -> Option<String> {
    let ListenerKind::Http(HttpListener { routes, .. }) = &listener.kind else { return None };
    // What tracing decides makes several routes of one.
    let all: Vec<_> = routes.routes.iter().filter(|route| route.decided_by.is_none()).collect();
    all.iter().any(|route| route.origin.is_some()).then(|| {
        let all: Vec<_> = all.iter().map(|route| format!("\n{}", of(route))).collect();
        format!("{}{}", listener.name, all.concat())
    })
}

fn of(route: &Route) -> String {
    let mut text = requests(&route.requests);
    match &route.action {
        RouteAction::Forward(forward) => text.push_str(&self::forward(forward)),
        RouteAction::Redirect(Redirect { scheme, host, port, path, status }) => {
            write!(text, " -> {status} {scheme:?} {host:?} {port:?} {path:?}").expect("text");
        }
        RouteAction::Respond { status } => write!(text, " -> {status}").expect("text"),
    }
    if let Some(origin) = &route.origin {
        write!(text, "  [{origin}, counts as {}]", route.counted_as).expect("text");
    }
    text
}

fn forward(forward: &Forward) -> String {
    let Forward { clusters, mirrors, path, host, request_headers, response_headers } = forward;
    let clusters: Vec<_> =
        clusters.iter().map(|it| format!("{} x{}", it.name, it.weight)).collect();
    let mut text = format!(" -> {}", clusters.join(", "));
    for mirror in mirrors {
        write!(text, "\n   mirror {} % to {}", mirror.share, mirror.cluster).expect("text");
    }
    if let Some(path) = path {
        write!(text, "\n   path {path:?}").expect("text");
    }
    if let Some(host) = host {
        write!(text, "\n   host {host:?}").expect("text");
    }
    for (what, changes) in [("request", request_headers), ("answer", response_headers)] {
        if *changes != HeaderChanges::default() {
            write!(text, "\n   {what} {changes:?}").expect("text");
        }
    }
    text
}
