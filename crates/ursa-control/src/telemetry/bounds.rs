//! What one span, one resource and one scope may weigh. Ordinary ones are far below and kept byte for byte; a larger one is
//! decoded, cut to the first of what it has, and says so in its own `dropped_…_count` fields.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::wire::Malformed;

/// A larger encoded span is cut to this.
pub const MAX_SPAN_BYTES: usize = 16 << 10;
/// A larger encoded resource is cut to this.
pub const MAX_RESOURCE_BYTES: usize = 8 << 10;
/// A larger encoded instrumentation scope is cut to this.
pub const MAX_SCOPE_BYTES: usize = 2 << 10;
/// So many attributes of a span or resource that is cut may stay; as many as OpenTelemetry's SDKs allow.
pub const MAX_ATTRIBUTES: usize = 128;
/// No id of a span is longer.
const MAX_ID_BYTES: usize = 8;
/// So many bytes of a text within what is cut stay.
pub const MAX_TEXT_BYTES: usize = 512;

/// The span, within [`MAX_SPAN_BYTES`].
pub(super) fn cut_span(encoded: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut span = Span::decode(encoded).map_err(|_| Malformed)?;
    cut_text(&mut span.name);
    cut_text(&mut span.trace_state);
    if let Some(status) = &mut span.status {
        cut_text(&mut status.message);
    }
    if span.parent_span_id.len() > MAX_ID_BYTES {
        span.parent_span_id.clear();
    }
    span.dropped_events_count = span.dropped_events_count.saturating_add(count(span.events.len()));
    span.dropped_links_count = span.dropped_links_count.saturating_add(count(span.links.len()));
    span.events.clear();
    span.links.clear();
    let before = span.attributes.len();
    cut_attributes(&mut span.attributes);
    while span.encoded_len() > MAX_SPAN_BYTES && span.attributes.pop().is_some() {}
    let dropped = before.saturating_sub(span.attributes.len());
    span.dropped_attributes_count = span.dropped_attributes_count.saturating_add(count(dropped));
    Ok(span.encode_to_vec())
}

/// The `ResourceSpans` without scopes and spans, within [`MAX_RESOURCE_BYTES`].
pub(super) fn cut_resource(encoded: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut spans = ResourceSpans::decode(encoded).map_err(|_| Malformed)?;
    cut_text(&mut spans.schema_url);
    if let Some(resource) = &mut spans.resource {
        resource.entity_refs.clear();
        resource.attributes.sort_by_key(|attribute| attribute.key != SERVICE_NAME);
        cut_attributes(&mut resource.attributes);
    }
    while spans.encoded_len() > MAX_RESOURCE_BYTES
        && spans.resource.as_mut().is_some_and(|resource| resource.attributes.pop().is_some())
    {}
    Ok(spans.encode_to_vec())
}

/// The `ScopeSpans` without spans, within [`MAX_SCOPE_BYTES`].
pub(super) fn cut_scope(encoded: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut spans = ScopeSpans::decode(encoded).map_err(|_| Malformed)?;
    cut_text(&mut spans.schema_url);
    if let Some(scope) = &mut spans.scope {
        cut_text(&mut scope.name);
        cut_text(&mut scope.version);
        scope.attributes.clear();
    }
    Ok(spans.encode_to_vec())
}

/// The resource attribute that names a service; the last to be cut.
pub(super) const SERVICE_NAME: &str = "service.name";

fn cut_attributes(attributes: &mut Vec<KeyValue>) {
    attributes.truncate(MAX_ATTRIBUTES);
    for attribute in attributes {
        cut_text(&mut attribute.key);
        if let Some(value) = &mut attribute.value {
            cut_value(value);
        }
    }
}

fn cut_value(value: &mut AnyValue) {
    let encoded_len = value.encoded_len();
    match &mut value.value {
        Some(any_value::Value::StringValue(text)) => cut_text(text),
        other if encoded_len > MAX_TEXT_BYTES => *other = None,
        _ => {}
    }
}

fn cut_text(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::{Sample, attribute};
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    use opentelemetry_proto::tonic::trace::v1::span::Event;

    #[test]
    fn a_huge_span_is_cut_and_says_so() {
        let text = any_value::Value::StringValue("é".repeat(5000));
        let attributes =
            (0..1000).map(|index| attribute(&format!("key{index}"), text.clone())).collect();
        let span =
            Span { attributes, events: vec![Event::default(); 9], ..Sample::span(1, 1, 0).0 };
        let cut = cut_span(&span.encode_to_vec()).unwrap();
        assert!(cut.len() <= MAX_SPAN_BYTES);
        let cut = Span::decode(&*cut).unwrap();
        assert_eq!((&cut.trace_id, &cut.span_id), (&span.trace_id, &span.span_id));
        assert_eq!(
            (cut.dropped_events_count, count(cut.attributes.len()) + cut.dropped_attributes_count),
            (9, 1000)
        );
        assert!(cut.attributes.len() > 25);
    }

    #[test]
    fn what_is_no_id_is_cut_as_well() {
        let parent_span_id = vec![1; 2 * MAX_SPAN_BYTES];
        let span = Span { parent_span_id, ..Sample::span(1, 1, 0).0 };
        assert!(cut_span(&span.encode_to_vec()).unwrap().len() <= MAX_SPAN_BYTES);
    }

    #[test]
    fn a_huge_resource_keeps_its_service() {
        let mut spans = Sample::resource("cart");
        let resource = spans.resource.as_mut().unwrap();
        let long = any_value::Value::StringValue("x".repeat(5000));
        resource
            .attributes
            .splice(0..0, (0..1000).map(|index| attribute(&index.to_string(), long.clone())));
        let cut = cut_resource(&spans.encode_to_vec()).unwrap();
        assert!(cut.len() <= MAX_RESOURCE_BYTES);
        assert_eq!(crate::telemetry::origins::service_name(&cut), "cart");
    }

    #[test]
    fn a_huge_scope_fits() {
        let text = || "x".repeat(5000);
        let scope = InstrumentationScope {
            name: text(),
            version: text(),
            ..InstrumentationScope::default()
        };
        let spans = ScopeSpans { scope: Some(scope), schema_url: text(), ..ScopeSpans::default() };
        assert!(cut_scope(&spans.encode_to_vec()).unwrap().len() <= MAX_SCOPE_BYTES);
    }
}
