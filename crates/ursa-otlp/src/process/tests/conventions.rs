//! What the processor `semanticConventions` means, on a decoded span.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::reference::{pair, text};

const METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"];
const RENAMED: [(&str, &str); 17] = [
    ("component", "envoy.component"),
    ("downstream_cluster", "envoy.downstream_cluster"),
    ("error.reason", "envoy.error.reason"),
    ("grpc.authority", "envoy.grpc.authority"),
    ("grpc.content_type", "envoy.grpc.content_type"),
    ("grpc.message", "envoy.grpc.message"),
    ("grpc.timeout", "envoy.grpc.timeout"),
    ("guid:x-client-trace-id", "envoy.client_trace_id"),
    ("guid:x-request-id", "envoy.request_id"),
    ("node_id", "envoy.node_id"),
    ("response_flags", "envoy.response_flags"),
    ("status", "envoy.status"),
    ("upstream_address", "envoy.upstream_address"),
    ("upstream_cluster", "envoy.upstream_cluster"),
    ("upstream_cluster.name", "envoy.upstream_cluster.name"),
    ("user_agent", "user_agent.original"),
    ("zone", "envoy.zone"),
];
const NUMBERS: [(&str, &str); 5] = [
    ("grpc.status_code", "rpc.grpc.status_code"),
    ("http.status_code", "http.response.status_code"),
    ("request_size", "http.request.body.size"),
    ("response_size", "http.response.body.size"),
    ("retry.count", "http.request.resend_count"),
];

fn string(one: &KeyValue) -> Option<String> {
    match one.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn int(value: i64) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Any::IntValue(value)) })
}

fn digits(text: &str) -> Option<i64> {
    text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Whether a span is one of Envoy's; then it is renamed.
pub(super) fn is_envoys(span: &Span) -> bool {
    let is = |one: &KeyValue| one.key == "component" && string(one).as_deref() == Some("proxy");
    span.attributes.iter().any(is)
}

pub(super) fn apply(span: &mut Span) -> bool {
    if !is_envoys(span) {
        return false;
    }
    let list = std::mem::take(&mut span.attributes);
    let last = |key: &str| {
        let found = list.iter().rev().find(|one| one.key == key);
        found.and_then(string).unwrap_or_default()
    };
    let mut names: Vec<String> = list.iter().map(|one| one.key.clone()).collect();
    let mut free = |name: &str| {
        let free = !names.iter().any(|taken| taken == name);
        names.push(name.to_owned());
        free
    };
    let (mut out, mut added): (Vec<KeyValue>, Vec<KeyValue>) = (Vec::new(), Vec::new());
    let (method, path) = (last("http.method"), last("grpc.path"));
    let known = METHODS.contains(&method.as_str());
    let (grpc, status) = (last("grpc.status_code"), last("http.status_code"));
    let flags = last("response_flags");
    let class = if !grpc.is_empty() && grpc != "0" {
        &grpc
    } else if status.starts_with(['4', '5']) {
        &status
    } else if flags.is_empty() || flags == "-" {
        "_OTHER"
    } else {
        &flags
    };
    for mut one in list.clone() {
        let value = string(&one);
        let mut rename = |one: &mut KeyValue, name: &str| {
            let free = free(name);
            if free {
                one.key = name.to_owned();
            }
            free
        };
        let name = |list: &[(&str, &'static str)], key: &str| {
            list.iter().find(|(from, _)| *from == key).map(|(_, to)| *to)
        };
        match (one.key.as_str(), value.as_deref()) {
            ("user_agent", Some("-")) | ("http.status_code", Some("0")) => continue,
            ("http.method", _) if known || method.is_empty() => {
                rename(&mut one, "http.request.method");
            }
            ("http.method", _) => {
                if rename(&mut one, "http.request.method_original") && free("http.request.method") {
                    added.push(pair("http.request.method", text("_OTHER")));
                }
            }
            ("http.protocol", Some(protocol)) => {
                if let Some(version) = protocol.strip_prefix("HTTP/")
                    && rename(&mut one, "network.protocol.version")
                {
                    one.value = text(version);
                    if free("network.protocol.name") {
                        added.push(pair("network.protocol.name", text("http")));
                    }
                }
            }
            ("peer.address", _) => {
                if rename(&mut one, "network.peer.address")
                    && let Some((host, port)) = value.as_deref().and_then(host_and_port)
                {
                    one.value = text(host);
                    if free("network.peer.port") {
                        added.push(pair("network.peer.port", int(port)));
                    }
                }
                if one.key == "network.peer.address"
                    && span.kind == 2
                    && let Some(address) = string(&one).filter(|address| !address.is_empty())
                    && free("client.address")
                {
                    added.push(pair("client.address", text(&address)));
                }
            }
            ("grpc.path", _) => match value.as_deref().and_then(service_and_method) {
                Some((service, method)) => {
                    if rename(&mut one, "rpc.method") {
                        one.value = text(method);
                        if free("rpc.service") {
                            added.push(pair("rpc.service", text(service)));
                        }
                    }
                    if free("rpc.system") {
                        added.push(pair("rpc.system", text("grpc")));
                    }
                }
                None => {
                    rename(&mut one, "envoy.grpc.path");
                }
            },
            ("http.url", _) => {
                let parts = value.as_deref().and_then(|value| value.split_once("://"));
                let Some((scheme, rest)) = parts else {
                    rename(&mut one, "url.full");
                    out.push(one);
                    continue;
                };
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                if span.kind != 2 {
                    rename(&mut one, "url.full");
                } else if rename(&mut one, "url.path") {
                    let (path, query) = path.split_once('?').unwrap_or((path, ""));
                    one.value = text(path);
                    for (name, value) in [("url.query", query), ("url.scheme", scheme)] {
                        if !value.is_empty() && free(name) {
                            added.push(pair(name, text(value)));
                        }
                    }
                }
                let (host, port) = match host_and_port(authority) {
                    Some((host, port)) => (host, Some(port)),
                    None => (authority, None),
                };
                if !authority.is_empty() && free("server.address") {
                    added.push(pair("server.address", text(host)));
                }
                if let Some(port) = port
                    && free("server.port")
                {
                    added.push(pair("server.port", int(port)));
                }
            }
            ("error", Some("true")) => {
                if rename(&mut one, "error.type") {
                    one.value = text(class);
                }
            }
            (key, value) => {
                if let Some(to) = name(&RENAMED, key) {
                    rename(&mut one, to);
                } else if let Some(to) = name(&NUMBERS, key) {
                    match value.map(digits) {
                        None => {
                            rename(&mut one, to);
                        }
                        Some(Some(number)) => {
                            if rename(&mut one, to) {
                                one.value = int(number);
                            }
                        }
                        Some(None) => {}
                    }
                    if to == "rpc.grpc.status_code" && free("rpc.system") {
                        added.push(pair("rpc.system", text("grpc")));
                    }
                }
            }
        }
        out.push(one);
    }
    let is_client = span.kind != 2;
    let of_status = |class: char| status.len() == 3 && status.starts_with(class);
    let failed =
        list.iter().any(|one| one.key == "error" && string(one).as_deref() == Some("true"))
            || of_status('5')
            || is_client && of_status('4')
            || ["2", "4", "12", "13", "14", "15"].contains(&&*grpc)
            || is_client && !grpc.is_empty() && grpc != "0";
    if failed && free("error.type") {
        added.push(pair("error.type", text(class)));
    }
    out.extend(added);
    span.attributes = out;
    if failed && span.status.as_ref().is_none_or(|status| status.code == 0) {
        span.status.get_or_insert_default().code = 2;
    }
    if matches!(span.name.as_str(), "ingress" | "egress") || span.name.starts_with("egress ") {
        let route = last("http.route");
        if service_and_method(&path).is_some() {
            path[1..].clone_into(&mut span.name);
        } else if !method.is_empty() {
            let method = if known { &method } else { "HTTP" };
            span.name = format!("{method} {route}").trim_end().to_owned();
        }
    }
    true
}

fn service_and_method(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let whole = !service.is_empty() && !method.is_empty();
    (whole && !method.contains(['/', '?'])).then_some((service, method))
}

fn host_and_port(authority: &str) -> Option<(&str, i64)> {
    let (host, port) = authority.rsplit_once(':')?;
    let port = digits(port).filter(|port| *port < 65_536)?;
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => Some((inner, port)),
        None => (!host.is_empty() && !host.contains(':')).then_some((host, port)),
    }
}
