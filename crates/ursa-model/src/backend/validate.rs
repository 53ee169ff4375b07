//! What is refused in a backend, and warned about.

use std::collections::BTreeSet;

use super::{Auth, BackendRef, DeliveryOptions, OpenTelemetryBackend, RetryPolicy, Tls, TlsMode};
use crate::duration::Duration;
use crate::names;
use crate::report::Cursor;
use crate::substitution::{Part, Substitution};
use crate::template;

/// Headers that the exporter itself writes.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "host",
    "te",
    "transfer-encoding",
    "user-agent",
];

impl OpenTelemetryBackend {
    /// Reports contradictions and values that cannot work; warns about what is unwise. The cursor stands on the backend.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        if let Err(error) = self.resolve() {
            match error.hint {
                Some(hint) => cursor.at(error.field).refuse_with_hint(error.message, hint),
                None => cursor.at(error.field).refuse(error.message),
            }
        }
        self.delivery.validate(cursor);
        validate_attributes(&self.resource_attributes, &cursor.at("resourceAttributes"));
    }
}

impl DeliveryOptions {
    /// Reports contradictions and values that cannot work; warns about what is unwise. The cursor stands on the backend.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        if let Some(tls) = &self.tls {
            validate_tls(tls, &cursor.at("tls"));
        }
        self.validate_headers(&cursor.at("headers"));
        if let Some(auth) = &self.auth {
            validate_auth(auth, &cursor.at("auth"));
            let authorization =
                self.headers.keys().find(|name| name.eq_ignore_ascii_case("authorization"));
            if let Some(name) = authorization.filter(|_| auth.api_key.is_none()) {
                cursor.at("headers").key(name).refuse("`auth` sets this header already; keep one");
            }
        }
        validate_pause(self.timeout, &cursor.at("timeout"));
        if let Some(policy) = &self.retry_policy {
            validate_retry(policy, &cursor.at("retryPolicy"));
        }
        if let Some(breaker) = &self.circuit_breaker {
            validate_pause(breaker.open_for, &cursor.at("circuitBreaker.openFor"));
            if breaker.consecutive_failures == Some(0) {
                cursor.at("circuitBreaker.consecutiveFailures").refuse("must be at least 1");
            }
        }
        if let Some(queue) = &self.queue {
            validate_pause(queue.max_age, &cursor.at("queue.maxAge"));
            if queue.size.is_some_and(|size| size.bytes() == 0) {
                cursor.at("queue.size").refuse("must be more than nothing");
            }
        }
    }

    fn validate_headers(&self, cursor: &Cursor<'_>) {
        let mut seen = BTreeSet::new();
        for (name, value) in &self.headers {
            let cursor = cursor.key(name);
            let lower = name.to_ascii_lowercase();
            validate_header_name(&lower, &cursor);
            validate_value(value, &cursor);
            if !seen.insert(lower) {
                cursor.refuse("stands here twice; case does not count in a header's name");
            }
        }
    }
}

impl BackendRef {
    /// Reports a reference that names nothing, or names by both name and labels. The cursor stands on the reference.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        match (&self.name, self.labels.is_empty()) {
            (None, true) => cursor.refuse("needs a `name` or `labels`"),
            (Some(_), false) => {
                cursor.at("labels").refuse("`labels` and `name` exclude each other; keep one");
            }
            (Some(name), true) => names::validate_resource_name(name, &cursor.at("name")),
            (None, false) => names::validate_labels(&self.labels, &cursor.at("labels")),
        }
    }
}

/// Refuses resource attributes without a name, and values that are no templates. The cursor stands on their object.
pub fn validate_attributes(
    attributes: &std::collections::BTreeMap<String, String>,
    cursor: &Cursor<'_>,
) {
    for (name, value) in attributes {
        let cursor = cursor.key(name);
        if name.is_empty() {
            cursor.refuse("an attribute needs a name");
        }
        template::validate(value, &cursor);
    }
}

fn validate_tls(tls: &Tls, cursor: &Cursor<'_>) {
    match (&tls.cert, &tls.key) {
        (Some(_), None) => cursor.at("cert").refuse("`cert` needs its `key`"),
        (None, Some(_)) => cursor.at("key").refuse("`key` needs its `cert`"),
        _ => {}
    }
    if tls.mode == Some(TlsMode::Provided)
        && tls.ca.is_none()
        && tls.cert.is_none()
        && tls.key.is_none()
    {
        cursor.at("mode").refuse("`provided` needs `ca`, or `cert` and `key`");
    }
    if tls.mode == Some(TlsMode::System) && tls.ca.is_some() {
        cursor.at("ca").refuse_with_hint(
            "`mode: system` trusts the system's authorities, not these",
            "leave `mode` out, or say `provided`",
        );
    }
    if tls.mode == Some(TlsMode::Disabled) {
        for field in ["ca", "cert", "key", "serverName", "insecureSkipVerify"] {
            if cursor.at(field).node().is_some_and(|node| !node.is_null()) {
                cursor.at(field).warn("has no effect: `mode` is `disabled`");
            }
        }
    }
    for (field, file) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
        if file.as_ref().is_some_and(|file| !file.starts_with('/')) {
            cursor.at(field).refuse("must be the absolute path of a file");
        }
    }
    if tls.insecure_skip_verify && tls.is_on() {
        cursor.at("insecureSkipVerify").warn_with_hint(
            "the backend's certificate is not verified: whoever is on the way can read and change telemetry and credentials",
            "give the authority's certificate as `ca`",
        );
    }
    if tls.server_name.as_ref().is_some_and(|name| !names::is_host(name)) {
        cursor.at("serverName").refuse("must be a DNS name");
    }
}

fn validate_auth(auth: &Auth, cursor: &Cursor<'_>) {
    let forms = [auth.bearer_token.is_some(), auth.basic.is_some(), auth.api_key.is_some()];
    if forms.iter().filter(|set| **set).count() != 1 {
        cursor.refuse("needs exactly one of `bearerToken`, `basic` and `apiKey`");
    }
    let credential = |value: &Substitution, cursor: &Cursor<'_>| {
        validate_value(value, cursor);
        let in_clear = |parts: Vec<Part>| parts.iter().all(|part| matches!(part, Part::Text(_)));
        if value.parts().is_ok_and(in_clear) {
            cursor.warn_with_hint(
                "a credential stands here in clear, for all who may read this resource",
                "name it instead: `${NAME}` of the environment, `${file:/path}`, or in a mesh `${secret:name}`",
            );
        }
    };
    if let Some(token) = &auth.bearer_token {
        credential(token, &cursor.at("bearerToken"));
    }
    if let Some(basic) = &auth.basic {
        validate_value(&basic.username, &cursor.at("basic.username"));
        credential(&basic.password, &cursor.at("basic.password"));
    }
    if let Some(key) = &auth.api_key {
        validate_header_name(&key.header.to_ascii_lowercase(), &cursor.at("apiKey.header"));
        credential(&key.value, &cursor.at("apiKey.value"));
    }
}

fn validate_header_name(name: &str, cursor: &Cursor<'_>) {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        cursor.refuse("is not the name of a header");
    } else if OWN_HEADERS.contains(&name) {
        cursor.refuse("is set by the exporter itself");
    }
}

/// Refuses a header's value that cannot be sent or filled in.
fn validate_value(value: &Substitution, cursor: &Cursor<'_>) {
    if value.written().chars().any(|c| c.is_control() && c != '\t') {
        cursor.refuse_with_hint(
            "a header's value must not hold a line break or another control character",
            "a block scalar ends with a line break unless it begins with `|-` or `>-`",
        );
    }
    if let Err(error) = value.parts() {
        cursor.refuse(error.to_string());
    }
}

fn validate_retry(policy: &RetryPolicy, cursor: &Cursor<'_>) {
    validate_pause(policy.initial_backoff, &cursor.at("initialBackoff"));
    validate_pause(policy.max_backoff, &cursor.at("maxBackoff"));
    if policy.initial_backoff() > policy.max_backoff() {
        let field = if policy.max_backoff.is_some() { "maxBackoff" } else { "initialBackoff" };
        let (first, longest) = (policy.initial_backoff(), policy.max_backoff());
        cursor
            .at(field)
            .refuse(format!("the first pause ({first}) is longer than the longest ({longest})"));
    }
}

fn validate_pause(duration: Option<Duration>, cursor: &Cursor<'_>) {
    if duration == Some(Duration::default()) {
        cursor.refuse("must be more than nothing");
    }
}
