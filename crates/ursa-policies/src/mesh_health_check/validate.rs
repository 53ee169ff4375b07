//! What is refused in a MeshHealthCheck.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ursa_model::report::Cursor;
use ursa_model::tree::Node;

use super::schema::{Conf, Header, Http, Tcp};
use crate::header::is_token;
use crate::limits::more_than_zero;

/// The node and the cursor are those of the `default` of an item.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    let lengths = [
        ("interval", conf.interval),
        ("unhealthyInterval", conf.unhealthy_interval),
        ("noTrafficInterval", conf.no_traffic_interval),
        ("timeout", conf.timeout),
        ("initialJitter", conf.initial_jitter),
        ("intervalJitter", conf.interval_jitter),
    ];
    more_than_zero(&lengths, report);
    if conf.event_log_path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        report.at("eventLogPath").refuse("must be an absolute path");
    }
    if conf.tcp.is_none() && conf.http.is_none() && conf.grpc.is_none() {
        report.refuse_with_hint(
            "needs one of `tcp`, `http` and `grpc` at least",
            "`tcp: {}` asks for a connection",
        );
    }
    if let Some(tcp) = &conf.tcp {
        validate_tcp(tcp, &report.at("tcp"));
    }
    if let Some(http) = &conf.http {
        validate_http(http, &report.at("http"));
    }
}

fn validate_tcp(tcp: &Tcp, cursor: &Cursor<'_>) {
    let check = |text: &str, cursor: &Cursor<'_>| match BASE64_STANDARD.decode(text) {
        Ok(bytes) if bytes.is_empty() => cursor.refuse("must not be empty"),
        Ok(_) => {}
        Err(error) => cursor.refuse(format!("is not Base64: {error}")),
    };
    if let Some(send) = &tcp.send {
        check(send, &cursor.at("send"));
    }
    for (index, text) in tcp.receive.iter().flatten().enumerate() {
        check(text, &cursor.at("receive").index(index));
    }
}

fn validate_http(http: &Http, cursor: &Cursor<'_>) {
    let is_path = |path: &str| {
        path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if http.path.as_ref().is_some_and(|path| !is_path(path)) {
        cursor.at("path").refuse("must begin with `/`, without blanks");
    }
    let headers = http.request_headers_to_add.clone().unwrap_or_default();
    for (field, headers) in [("set", headers.set), ("add", headers.add)] {
        let cursor = cursor.at("requestHeadersToAdd").key(field);
        validate_headers(&headers.unwrap_or_default(), &cursor);
    }
}

fn validate_headers(headers: &[Header], cursor: &Cursor<'_>) {
    for (index, header) in headers.iter().enumerate() {
        let cursor = cursor.index(index);
        if !is_token(&header.name) {
            cursor.at("name").refuse("is not the name of a header");
        }
        if header.value.contains(['\0', '\r', '\n']) {
            cursor.at("value").refuse("must not hold line feeds");
        }
    }
}
