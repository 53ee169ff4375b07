//! Spans of Envoy's Zipkin tracer, as its OpenTelemetry tracer would have written them.
//!
//! | Zipkin's tracer | OpenTelemetry's |
//! |---|---|
//! | the host as the name | `ingress`, or `egress` and the host |
//! | tags | the same attributes |
//! | the tags `http.status_code` and `error` | `status` too: an error from 500 on, for who asked from 400 on |
//! | annotations `ss`, `cr`, … | nothing: the span's times say it |
//! | `localEndpoint`: Envoy's cluster, an address of the host | nothing: the resource is the pipeline's |
//!
//! What Zipkin's tracer does not say stays unsaid: `tracestate`, flags, tags without a value (`zone`), bytes that are not
//! UTF-8 (spaces stand for them), and which build of Envoy it was (`telemetry.sdk.version`, the scope's version).
//!
//! JSON, since in protobuf Envoy (1.36 to 1.40) writes the bytes of `parent_id` in reverse.

use super::ZipkinError;
use super::list::Elements;
use super::span::{Kind, Number, Span};
use crate::spans::{Any, attribute, bytes, fixed64, kind, status, text, varint};
use crate::wire::fields::{head_length, put_bytes, put_head};

/// What Envoy says of itself in a resource, and as a scope.
const RESOURCE: [(&str, &str); 2] =
    [("telemetry.sdk.name", SCOPE), ("telemetry.sdk.language", "cpp")];
const SCOPE: &str = "envoy";

/// A list of v2 JSON that Envoy wrote as an `ExportTraceServiceRequest`. A span that Zipkin would refuse becomes one without
/// ids, which no receiver of OTLP takes, so that it costs no other: Envoy follows callers whose ids are zero.
///
/// # Errors
/// It is no list.
pub fn of_envoy(list: &[u8]) -> Result<Vec<u8>, ZipkinError> {
    let list = std::str::from_utf8(list).map_err(|_| ZipkinError::Utf8)?;
    let (mut scope, mut spans, mut body) = (Vec::new(), Vec::new(), Vec::new());
    text(&mut body, 1, SCOPE);
    put_bytes(&mut scope, 1, &body);
    for span in Elements::new(list) {
        body.clear();
        if let Ok(span) = serde_json::from_str(span?) {
            write(&span, &mut body);
        }
        put_bytes(&mut spans, 2, &body);
    }
    let mut resource = Vec::new();
    body.clear();
    for (key, value) in RESOURCE {
        attribute(&mut body, 1, key, Any::Text(value));
    }
    put_bytes(&mut resource, 1, &body);

    let scope_spans = scope.len().saturating_add(spans.len());
    let field = head_length(2, scope_spans).saturating_add(scope_spans);
    let mut out = Vec::with_capacity(field.saturating_add(resource.len()).saturating_add(16));
    put_head(&mut out, 1, resource.len().saturating_add(field));
    out.extend_from_slice(&resource);
    put_head(&mut out, 2, scope_spans);
    out.extend_from_slice(&scope);
    out.extend_from_slice(&spans);
    Ok(out)
}

/// Writes the fields of an OTLP span.
fn write(span: &Span<'_>, out: &mut Vec<u8>) {
    let nanos = |micros: Option<Number>| micros.map_or(0, |Number(us)| us.saturating_mul(1000));
    bytes(out, 1, &span.trace_id.0.to_be_bytes());
    bytes(out, 2, &span.id.0.to_be_bytes());
    if let Some(parent) = span.parent_id.filter(|parent| parent.0 != 0) {
        bytes(out, 4, &parent.0.to_be_bytes());
    }
    let client = span.kind == Some(Kind::Client);
    let host = span.name.as_ref().map(|name| &*name.0).unwrap_or_default();
    if client {
        text(out, 5, &format!("egress {host}"));
    } else {
        text(out, 5, "ingress");
    }
    varint(out, 6, if client { kind::CLIENT } else { kind::SERVER });
    let start = nanos(span.timestamp);
    fixed64(out, 7, start);
    fixed64(out, 8, start.saturating_add(nanos(span.duration)));
    let mut failed = false;
    for (key, value) in span.tags() {
        let (key, value) = (&*key.0, &*value.0);
        attribute(out, 9, key, Any::Text(value));
        failed |= match key {
            "error" => value == "true",
            "http.status_code" => {
                value.parse::<u32>().is_ok_and(|code| code >= if client { 400 } else { 500 })
            }
            _ => false,
        };
    }
    if failed {
        let mut code = Vec::new();
        varint(&mut code, 3, status::ERROR);
        put_bytes(out, 15, &code);
    }
}
