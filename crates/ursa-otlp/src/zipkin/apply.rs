//! Processors on Zipkin's spans: filters, and what they do to tags, annotations and names.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use ursa_model::pipeline::processor::{SpanKind, SpanStatus};

use super::span::{Endpoint, Kind, Span, Text};
use super::{ZipkinError, end, separate, spans, write};
use crate::process::{Processed, Rules, SpanFacts, Verdict};
use crate::spans::{Dropped, names};
use crate::wire::SpanId;

/// Applies rules to a checked list. Spans that they do not change stay as they stand.
///
/// # Errors
/// It is not such a list.
pub fn apply(rules: &Rules, list: &Bytes) -> Result<Processed, ZipkinError> {
    let mut out = Vec::new();
    let mut items = 0_usize;
    let mut changed = false;
    let mut dropped = Dropped::default();
    for span in spans(list)? {
        let (text, mut span) = span?;
        if let Err(rule) = rules.keeps(&span) {
            let (trace, id) = (span.trace_id.0.to_be_bytes(), span.id.0.to_be_bytes());
            dropped.add(rule, SpanId { trace, span: id });
            changed = true;
            continue;
        }
        items = items.saturating_add(1);
        if change(rules, &mut span) {
            changed = true;
            write(&mut out, &span);
        } else {
            separate(&mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    let request = if changed { end(out).into() } else { list.clone() };
    Ok(Processed { request, items, filtered: dropped.into_filtered() })
}

/// Whether a tag, an annotation or the name was changed.
fn change(rules: &Rules, span: &mut Span<'_>) -> bool {
    let name = span.name.as_ref().and_then(|name| rules.span_name(&name.0));
    let mut changed = name.is_some();
    span.name = name.map(Text::from).or(span.name.take());
    for annotation in span.annotations.iter_mut().flatten() {
        if let Some(new) = rules.text(&annotation.value.0) {
            changed = true;
            annotation.value = Text::from(new);
        }
    }
    let Some(tags) = &mut span.tags else { return changed };
    tags.0.retain_mut(|(key, value)| match rules.attribute(&key.0, &value.0) {
        Verdict::Keep => true,
        Verdict::Drop => {
            changed = true;
            false
        }
        Verdict::Replace(new) => {
            changed = true;
            *value = Text::from(new);
            true
        }
    });
    changed
}

impl SpanFacts for Span<'_> {
    fn name(&self) -> &str {
        self.name.as_ref().map(|name| &*name.0).unwrap_or_default()
    }

    fn kind(&self) -> Option<SpanKind> {
        Some(match self.kind {
            None => SpanKind::Internal,
            Some(Kind::Client) => SpanKind::Client,
            Some(Kind::Server) => SpanKind::Server,
            Some(Kind::Producer) => SpanKind::Producer,
            Some(Kind::Consumer) => SpanKind::Consumer,
        })
    }

    fn status(&self) -> SpanStatus {
        let said = |name: &str| self.tags().iter().rfind(|(key, _)| key.0 == name);
        let code = said(names::STATUS_CODE).map(|(_, value)| &*value.0);
        match (said("error").map(|(_, value)| &*value.0), code) {
            (Some(error), _) if error != "false" => SpanStatus::Error,
            (_, Some("ERROR")) => SpanStatus::Error,
            (_, Some("OK")) => SpanStatus::Ok,
            _ => SpanStatus::Unset,
        }
    }

    fn duration(&self) -> Duration {
        Duration::from_micros(self.duration.map_or(0, |micros| micros.0))
    }

    fn attribute(&self, key: &str) -> Option<Cow<'_, str>> {
        let tag = self.tags().iter().rfind(|(name, _)| name.0 == key)?;
        Some(Cow::Borrowed(&tag.1.0))
    }

    fn resource_attribute(&self, key: &str) -> Option<Cow<'_, str>> {
        let service = self.local_endpoint.as_ref().map(Endpoint::service)?;
        (key == names::SERVICE_NAME && !service.is_empty()).then_some(Cow::Borrowed(service))
    }
}
