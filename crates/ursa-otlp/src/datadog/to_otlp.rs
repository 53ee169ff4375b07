//! Datadog's spans as OTLP.

use super::span::{EventValue, Span, lossy};
use super::{DatadogError, Trace, for_each_trace};
use crate::spans::{
    Any, Groups, Message, Resource, Scope, any_field, attribute, bytes, fixed32, fixed64, kind,
    names, status, text, varint,
};
use crate::wire::fields::put_bytes;

/// In `meta`: the high half of the trace's id, in hex.
pub(super) const HIGH_ID: &str = "_dd.p.tid";
/// Among `metrics`: 1 keeps the trace, 2 keeps it because a user wants it.
pub(super) const PRIORITY: &str = "_sampling_priority_v1";
pub(super) const ENVIRONMENT: &str = "env";
pub(super) const VERSION: &str = "version";
pub(super) const KIND: &str = "span.kind";
pub(super) const ERROR_MESSAGE: &str = "error.message";
/// As older tracers have it.
const OLD_ERROR_MESSAGE: &str = "error.msg";
/// Attributes that Datadog's agent reads as fields of the span.
pub(super) const OPERATION_NAME: &str = "operation.name";
pub(super) const RESOURCE_NAME: &str = "resource.name";
pub(super) const SPAN_TYPE: &str = "span.type";
/// Before the names of `meta_struct`.
pub(super) const META_STRUCT: &str = "datadog.meta_struct.";
/// Says in a link's `flags` that they are set.
pub(super) const FLAGS_SET: u32 = 1 << 31;

/// A v0.4 message as an `ExportTraceServiceRequest`, spans gathered by service, environment and
/// version.
///
/// # Errors
/// It is not such a message.
pub fn to_otlp(message: &[u8]) -> Result<Vec<u8>, DatadogError> {
    let mut groups = Groups::default();
    let mut body = Vec::new();
    for_each_trace(message, |trace| {
        let high = high_id(trace);
        for span in trace.spans() {
            let owned = |name: &str| lossy(span.tag(name).unwrap_or_default()).into_owned();
            let resource = Resource {
                service: lossy(span.service).into_owned(),
                environment: owned(ENVIRONMENT),
                version: owned(VERSION),
            };
            let scope =
                Scope { name: owned(names::SCOPE_NAME), version: owned(names::SCOPE_VERSION) };
            body.clear();
            write(span, high, &mut body);
            groups.add(resource, scope, &body);
        }
    })?;
    Ok(groups.into_request())
}

/// The high half that one of the spans knows; it counts for all.
pub(super) fn high_id(trace: Trace<'_>) -> u64 {
    trace.spans().find_map(own_high_id).unwrap_or(0)
}

fn own_high_id(span: Span<'_>) -> Option<u64> {
    let digits = std::str::from_utf8(span.tag(HIGH_ID)?).ok()?;
    let valid = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if valid { u64::from_str_radix(digits, 16).ok() } else { None }
}

fn write(span: Span<'_>, high: u64, out: &mut Vec<u8>) {
    let own_high = own_high_id(span);
    let high = own_high.unwrap_or(high);
    let trace_id = u128::from(high) << 64 | u128::from(span.trace_id);
    bytes(out, 1, &trace_id.to_be_bytes());
    bytes(out, 2, &span.span_id.to_be_bytes());
    if span.parent_id != 0 {
        bytes(out, 4, &span.parent_id.to_be_bytes());
    }
    let name = if span.resource.is_empty() { span.name } else { span.resource };
    text(out, 5, &lossy(name));
    let kind = kind_of(span.tag(KIND), span.kind);
    varint(out, 6, kind.unwrap_or(kind::INTERNAL));
    let start = u64::try_from(span.start).unwrap_or(0);
    fixed64(out, 7, start);
    fixed64(out, 8, start.saturating_add(u64::try_from(span.duration).unwrap_or(0)));

    for (name, value) in
        [(OPERATION_NAME, span.name), (RESOURCE_NAME, span.resource), (SPAN_TYPE, span.kind)]
    {
        if !value.is_empty() {
            attribute(out, 9, name, Any::Text(&lossy(value)));
        }
    }
    for (key, value) in span.meta() {
        let (key, value) = (lossy(key), lossy(value));
        match &*key {
            HIGH_ID if own_high.is_some() => {}
            ENVIRONMENT
            | VERSION
            | names::SCOPE_NAME
            | names::SCOPE_VERSION
            | names::STATUS_CODE => {}
            KIND if matches!(
                &*value,
                "server" | "client" | "producer" | "consumer" | "internal"
            ) => {}
            names::TRACE_STATE => text(out, 3, &value),
            _ => attribute(out, 9, &key, Any::Text(&value)),
        }
    }
    for (key, value) in span.metrics() {
        attribute(out, 9, &lossy(key), Any::Double(value));
    }
    for (key, value) in span.meta_struct() {
        attribute(out, 9, &format!("{META_STRUCT}{}", lossy(key)), Any::Bytes(value));
    }
    write_status(span, out);
    write_events(span, out);
    write_links(span, out);
}

/// The kind that a span names, or that its type tells.
pub(super) fn kind_of(named: Option<&[u8]>, of_type: &[u8]) -> Option<u64> {
    match (named, of_type) {
        (Some(b"server"), _) => Some(kind::SERVER),
        (Some(b"client"), _) => Some(kind::CLIENT),
        (Some(b"producer"), _) => Some(kind::PRODUCER),
        (Some(b"consumer"), _) => Some(kind::CONSUMER),
        (Some(b"internal"), _) => Some(kind::INTERNAL),
        (_, b"web") => Some(kind::SERVER),
        (_, b"http") => Some(kind::CLIENT),
        _ => None,
    }
}

fn write_status(span: Span<'_>, out: &mut Vec<u8>) {
    let code = span.status_code();
    if code == 0 {
        return;
    }
    let mut body = Vec::new();
    if code == status::ERROR {
        let message = span.tag(ERROR_MESSAGE).or_else(|| span.tag(OLD_ERROR_MESSAGE));
        text(&mut body, 2, &lossy(message.unwrap_or_default()));
    }
    varint(&mut body, 3, code);
    put_bytes(out, 15, &body);
}

fn write_events(span: Span<'_>, out: &mut Vec<u8>) {
    let (mut body, mut list) = (Vec::new(), Vec::new());
    for event in span.events() {
        body.clear();
        fixed64(&mut body, 1, event.time);
        text(&mut body, 2, &lossy(event.name));
        for (key, value) in event.attributes() {
            let key = lossy(key);
            if let EventValue::List(values) = value {
                list.clear();
                for value in values.iter() {
                    with_any(value, |any| any_field(&mut list, 1, any));
                }
                attribute(&mut body, 3, &key, Any::Array(Message(&list)));
            } else {
                with_any(value, |any| attribute(&mut body, 3, &key, any));
            }
        }
        put_bytes(out, 11, &body);
    }
}

fn with_any(value: EventValue<'_>, write: impl FnOnce(Any<'_>)) {
    match value {
        EventValue::None | EventValue::List(_) => write(Any::Empty),
        EventValue::Text(text) => write(Any::Text(&lossy(text))),
        EventValue::Bool(truth) => write(Any::Bool(truth)),
        EventValue::Int(number) => write(Any::Int(number)),
        EventValue::Double(number) => write(Any::Double(number)),
    }
}

fn write_links(span: Span<'_>, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for link in span.links() {
        body.clear();
        bytes(&mut body, 1, &link.trace_id.to_be_bytes());
        bytes(&mut body, 2, &link.span_id.to_be_bytes());
        text(&mut body, 3, &lossy(link.trace_state));
        for (key, value) in link.attributes() {
            attribute(&mut body, 4, &lossy(key), Any::Text(&lossy(value)));
        }
        if link.flags & FLAGS_SET != 0 {
            fixed32(&mut body, 6, link.flags & !FLAGS_SET);
        }
        put_bytes(out, 13, &body);
    }
}
