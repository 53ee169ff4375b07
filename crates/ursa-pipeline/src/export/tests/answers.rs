//! What answers mean, and what the variables of the environment change.

use std::fmt::Write;

use ::http::{HeaderMap, StatusCode};
use serde_json::json;

use super::connection::Answer;
use super::*;
use crate::rpc::{Code, Status};

fn answer(status: u16, headers: &[(&'static str, &str)], body: &'static [u8]) -> Answer {
    let header = |(name, value): &(&'static str, &str)| {
        (::http::HeaderName::from_static(name), value.parse().unwrap())
    };
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.iter().map(header).collect(),
        body: Bytes::from_static(body),
        trailers: HeaderMap::new(),
        complete: true,
    }
}

/// Reason, whether it may be sent again, and the line for people.
fn of_failure(outcome: Outcome) -> String {
    let Outcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    let again = match failure.again {
        Again::Never => "never",
        Again::Later(None) => "later",
        Again::Later(Some(_)) => "when told",
    };
    format!("{} {again}: {failure}", failure.reason.name())
}

#[test]
fn http_answers_as_the_protocol_says() {
    for (status, header, body, expected) in [
        (
            401,
            ("x", "y"),
            "no such token",
            "unauthorized never: 401 Unauthorized: no such token \
             (look at the credentials in `headers` and `auth`)",
        ),
        (
            403,
            ("x", "y"),
            "",
            "unauthorized never: 403 Forbidden \
             (let the backend permit these credentials to write)",
        ),
        (
            404,
            ("x", "y"),
            "",
            "rejected never: 404 Not Found \
             (nothing takes telemetry at /otlp/v1/traces: look at the endpoint's path)",
        ),
        (
            308,
            ("location", "https://b/v1/traces"),
            "",
            "rejected never: 308 Permanent Redirect (it is elsewhere: https://b/v1/traces)",
        ),
        (413, ("x", "y"), "", "too_large never: 413 Payload Too Large"),
        (
            400,
            ("x", "y"),
            "http: request body too large",
            "too_large never: 400 Bad Request: http: request body too large",
        ),
        (
            400,
            ("x", "y"),
            "Client sent an HTTP request to an HTTPS server.",
            "rejected never: 400 Bad Request: Client sent an HTTP request to an HTTPS server. \
             (write `https://` in the endpoint)",
        ),
        (
            400,
            ("content-type", "application/json"),
            "{\"code\":3,\"message\":\"bad \\u0007 span\"}",
            "rejected never: 400 Bad Request: bad  span",
        ),
        (429, ("retry-after", "3"), "", "unavailable when told: 429 Too Many Requests"),
        (429, ("x", "y"), "", "unavailable later: 429 Too Many Requests"),
        (502, ("x", "y"), "", "unavailable later: 502 Bad Gateway"),
        (503, ("retry-after", "0"), "", "unavailable when told: 503 Service Unavailable"),
        (504, ("x", "y"), "", "timeout later: 504 Gateway Timeout"),
        (500, ("retry-after", "1"), "", "rejected never: 500 Internal Server Error"),
        (501, ("x", "y"), "", "rejected never: 501 Not Implemented"),
    ] {
        let answer = answer(status, &[header], body.as_bytes());
        assert_eq!(of_failure(http::outcome(&answer, "/otlp/v1/traces")), expected);
    }
}

#[test]
fn grpc_answers_as_the_protocol_says() {
    let told = Status::new(
        Code::RESOURCE_EXHAUSTED,
        "busy".into(),
        Some(std::time::Duration::from_secs(3)),
    );
    let told = {
        use base64::Engine;
        use prost::Message;
        base64::engine::general_purpose::STANDARD.encode(told.encode_to_vec())
    };
    for (code, message, details, expected) in [
        ("1", "", "", "unavailable later: CANCELLED"),
        ("2", "", "", "rejected never: UNKNOWN"),
        ("3", "bad", "", "rejected never: INVALID_ARGUMENT: bad"),
        ("4", "", "", "timeout later: DEADLINE_EXCEEDED"),
        (
            "7",
            "",
            "",
            "unauthorized never: PERMISSION_DENIED \
             (let the backend permit these credentials to write)",
        ),
        ("8", "quota", "", "rejected never: RESOURCE_EXHAUSTED: quota"),
        ("8", "busy", &told, "unavailable when told: RESOURCE_EXHAUSTED: busy"),
        (
            "8",
            "grpc: received message larger than max (5 vs. 4)",
            "",
            "too_large never: RESOURCE_EXHAUSTED: grpc: received message larger than max (5 vs. 4)",
        ),
        (
            "11",
            "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
            "",
            "too_large never: OUT_OF_RANGE: Error, decoded message length too large: found 5 \
             bytes, the limit is: 4 bytes",
        ),
        ("11", "", "", "unavailable later: OUT_OF_RANGE"),
        (
            "12",
            "",
            "",
            "rejected never: UNIMPLEMENTED \
             (send traces elsewhere, or let the backend receive them over gRPC)",
        ),
        ("14", "", "", "unavailable later: UNAVAILABLE"),
        ("15", "", "", "unavailable later: DATA_LOSS"),
        (
            "16",
            "s\u{fc}%C3%BC",
            "",
            "unauthorized never: UNAUTHENTICATED: s\u{fc}\u{fc} \
             (look at the credentials in `headers` and `auth`)",
        ),
    ] {
        let headers = [
            ("grpc-status", code),
            ("grpc-message", message),
            ("grpc-status-details-bin", details),
        ];
        let mut answer = answer(200, &headers[..1], b"");
        answer
            .headers
            .insert("grpc-message", ::http::HeaderValue::from_bytes(message.as_bytes()).unwrap());
        answer.headers.insert("grpc-status-details-bin", details.parse().unwrap());
        assert_eq!(of_failure(grpc::outcome(&answer, Signal::Traces)), expected);
    }
    for (status, expected) in [
        (
            200,
            "rejected never: UNKNOWN: the answer has no gRPC status \
             (set `protocol: http`, or use the port for gRPC, usually 4317)",
        ),
        (
            413,
            "too_large never: RESOURCE_EXHAUSTED: HTTP status 413 Payload Too Large instead of a \
             gRPC answer",
        ),
        (
            404,
            "rejected never: UNIMPLEMENTED: HTTP status 404 Not Found instead of a gRPC answer \
             (set `protocol: http`, or use the port for gRPC, usually 4317)",
        ),
        (
            401,
            "unauthorized never: UNAUTHENTICATED: HTTP status 401 Unauthorized instead of a gRPC \
             answer (look at the credentials in `headers` and `auth`)",
        ),
        (
            503,
            "unavailable later: UNAVAILABLE: HTTP status 503 Service Unavailable instead of a gRPC \
             answer",
        ),
    ] {
        let answer = answer(status, &[], b"");
        assert_eq!(of_failure(grpc::outcome(&answer, Signal::Traces)), expected);
    }
}

#[test]
fn a_compressed_grpc_answer_is_read() {
    // partial_success { rejected_spans: 3, error_message: "old" }
    let message = [0x0a, 7, 8, 3, 0x12, 3, b'o', b'l', b'd'];
    let packed = crate::compress::gzip(&[Bytes::copy_from_slice(&message)]);
    let body = [&[1][..], &u32::try_from(packed.len()).unwrap().to_be_bytes(), &packed].concat();
    let mut answer = answer(200, &[("grpc-status", "0"), ("grpc-encoding", "gzip")], b"");
    answer.body = body.into();
    let expected = Outcome::Delivered { rejected: 3, message: "old".into() };
    assert_eq!(grpc::outcome(&answer, Signal::Traces), expected);
}

/// Endpoint, protocol and what else counts, of a backend in an environment.
fn effective(spec: &serde_json::Value, environment: &[(&str, &str)]) -> String {
    let spec = serde_json::from_value(spec.clone()).unwrap();
    let effective = match environment::apply(&spec, Signal::Metrics, &values(environment)) {
        Ok(effective) => effective,
        Err(reason) => return reason,
    };
    let to = match effective.spec.resolve() {
        Ok(to) => to,
        Err(error) => return error.to_string(),
    };
    let delivery = &effective.spec.delivery;
    let path = effective.path.unwrap_or_else(|| to.signal_path("metrics"));
    let scheme = match (to.protocol, to.tls) {
        (ursa_model::backend::Protocol::Grpc, true) => "grpcs",
        (ursa_model::backend::Protocol::Grpc, false) => "grpc",
        (_, true) => "https",
        (_, false) => "http",
    };
    let path = if scheme.starts_with("grpc") { String::new() } else { path };
    let mut text = format!("{scheme}://{}:{}{path}", to.host, to.port);
    for (name, value) in &delivery.headers {
        write!(text, " {name}={}", value.written()).unwrap();
    }
    if delivery.auth.is_some() {
        text.push_str(" auth");
    }
    if let Some(tls) = &delivery.tls {
        let files = [&tls.ca, &tls.cert, &tls.key].into_iter().flatten();
        text.extend(files.map(|file| format!(" {file}")));
    }
    if let Some(timeout) = delivery.timeout {
        write!(text, " {:?}", timeout.0).unwrap();
    }
    if let Some(compression) = delivery.compression {
        write!(text, " {compression:?}").unwrap();
    }
    text
}

#[test]
fn the_standard_variables_count_as_the_backend_says() {
    let optional = || json!({"endpoint": "http://b:1", "env": {}});
    let explicit = || json!({"endpoint": "http://b:1", "env": {"precedence": "ExplicitFirst"}});
    let bare = || json!({"env": {}});
    const GENERAL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://e:2/base/");
    const OWN: (&str, &str) = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m:3/api/write");
    /// Backend, environment, what counts.
    type Case = (serde_json::Value, Vec<(&'static str, &'static str)>, &'static str);
    let cases: Vec<Case> = vec![
        (json!({"endpoint": "http://b:1"}), vec![GENERAL], "http://b:1/v1/metrics"),
        (
            json!({"endpoint": "http://b:1", "env": {"mode": "Disabled"}}),
            vec![GENERAL],
            "http://b:1/v1/metrics",
        ),
        (optional(), vec![], "http://b:1/v1/metrics"),
        (optional(), vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], "http://b:1/v1/metrics"),
        (optional(), vec![GENERAL], "http://e:2/base/v1/metrics"),
        (optional(), vec![GENERAL, OWN], "https://m:3/api/write"),
        (bare(), vec![("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:3")], "http://m:3/"),
        (explicit(), vec![GENERAL, OWN], "http://b:1/v1/metrics"),
        (
            json!({"env": {"precedence": "ExplicitFirst"}}),
            vec![GENERAL],
            "http://e:2/base/v1/metrics",
        ),
        (
            json!({"env": {"allowSignalOverrides": false}}),
            vec![GENERAL, OWN],
            "http://e:2/base/v1/metrics",
        ),
        (
            json!({"env": {"mode": "Required"}}),
            vec![],
            "`env.mode` is `Required`, and OTEL_EXPORTER_OTLP_METRICS_ENDPOINT or \
             OTEL_EXPORTER_OTLP_ENDPOINT is not set",
        ),
        (
            bare(),
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://e:2"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ],
            "grpc://e:2",
        ),
        (bare(), vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "e:2")], "grpcs://e:2"),
        (
            bare(),
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "e:2"), ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE")],
            "grpc://e:2",
        ),
        (
            bare(),
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "e:2"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            "OTEL_EXPORTER_OTLP_ENDPOINT: an endpoint of HTTP needs its scheme",
        ),
        (
            optional(),
            vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            "OTEL_EXPORTER_OTLP_PROTOCOL: \"http/json\" is not spoken; `grpc` and `http/protobuf` are",
        ),
        (
            json!({"endpoint": "https://b", "protocol": "https", "env": {}}),
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://e:2")],
            "http://e:2/v1/metrics",
        ),
        (
            optional(),
            vec![("OTEL_EXPORTER_OTLP_HEADERS", "A=1%2C2, x-key=$k")],
            "http://b:1/v1/metrics a=1,2 x-key=$$k",
        ),
        (
            json!({"endpoint": "http://b:1", "headers": {"X-Key": "b"}, "auth": {"bearerToken": "t"}, "env": {}}),
            vec![("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-key=e")],
            "http://b:1/v1/metrics authorization=Basic abc x-key=e",
        ),
        (
            json!({"endpoint": "http://b:1", "headers": {"X-Key": "b"}, "auth": {"bearerToken": "t"},
                "env": {"precedence": "ExplicitFirst"}}),
            vec![("OTEL_EXPORTER_OTLP_HEADERS", "authorization=x,x-key=e,other=o")],
            "http://b:1/v1/metrics X-Key=b other=o auth",
        ),
        (
            optional(),
            vec![("OTEL_EXPORTER_OTLP_HEADERS", "ok=1,s3cret")],
            "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not `name=value`",
        ),
        (
            json!({"endpoint": "https://b", "env": {}}),
            vec![
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/crt"),
                ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", "/key"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ],
            "https://b:443/v1/metrics /ca /crt /key 1.5s Gzip",
        ),
        (
            optional(),
            vec![("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")],
            "OTEL_EXPORTER_OTLP_TIMEOUT: not a number of milliseconds",
        ),
        (
            optional(),
            vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1")],
            "http://b:1/v1/metrics",
        ),
    ];
    for (spec, environment, expected) in cases {
        assert_eq!(effective(&spec, &environment), expected, "{spec} {environment:?}");
    }
}

#[test]
fn every_text_of_a_backend_is_redacted() {
    let location = answer(301, &[("location", "https://b/?token=s3cret")], b"moved: s3cret");
    let outcome = Outcome::Failed(super::super::http::failure(&location, "/"));
    let said = of_failure(outcome.map_texts(|text| text.replace("s3cret", "-")));
    assert_eq!(
        said,
        "rejected never: 301 Moved Permanently: moved: - (it is elsewhere: https://b/?token=-)"
    );
}
