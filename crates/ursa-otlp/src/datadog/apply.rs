//! Processors on Datadog's spans: filters, and what they do to `meta`, `metrics`, `name`, `resource`,
//! `span_links` and `span_events`.
//!
//! Not here: `meta_struct`, whose values are bytes of other formats.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use ursa_model::pipeline::processor::{SpanKind, SpanStatus};

use super::msgpack::{Reader, Token, put_float, put_list, put_map, put_text};
use super::span::{Span, lossy};
use super::to_otlp::{ENVIRONMENT, HIGH_ID, KIND, PRIORITY, VERSION, high_id, kind_of};
use super::{DatadogError, Trace, for_each_trace};
use crate::process::{Processed, Rules, SpanFacts, Verdict};
use crate::spans::{Dropped, kind, names, status};
use crate::wire::SpanId;

/// Applies rules to a checked message. Spans that they do not change stay as they stand; what is
/// said once of a trace moves on when the span that says it is dropped.
///
/// # Errors
/// It is not such a message.
pub fn apply(rules: &Rules, message: &Bytes) -> Result<Processed, DatadogError> {
    let mut all = All::new(rules);
    for_each_trace(message, |trace| all.add(trace))?;
    let All { traces, items, changed, dropped, out, .. } = all;
    let request = if changed {
        let mut request = Vec::with_capacity(out.len().saturating_add(5));
        put_list(&mut request, traces);
        request.extend_from_slice(&out);
        request.into()
    } else {
        message.clone()
    };
    Ok(Processed { request, items, filtered: dropped.into_filtered() })
}

/// What became of the traces so far.
struct All<'r> {
    rules: &'r Rules,
    traces: u32,
    items: usize,
    changed: bool,
    dropped: Dropped,
    out: Vec<u8>,
}

impl<'r> All<'r> {
    fn new(rules: &'r Rules) -> Self {
        let dropped = Dropped::default();
        Self { rules, traces: 0, items: 0, changed: false, dropped, out: Vec::new() }
    }

    fn add(&mut self, trace: Trace<'_>) {
        let high = high_id(trace);
        let (mut body, mut kept) = (Vec::new(), 0_u32);
        // What the dropped spans said of the trace.
        let mut orphaned = Said::default();
        for (span, raw) in trace.raw_spans() {
            if let Err(rule) = self.rules.keeps(&span) {
                let trace = u128::from(high) << 64 | u128::from(span.trace_id);
                let id = SpanId { trace: trace.to_be_bytes(), span: span.span_id.to_be_bytes() };
                self.dropped.add(rule, id);
                self.changed = true;
                orphaned.join(Said::by(span));
                continue;
            }
            kept = kept.saturating_add(1);
            let missing = std::mem::take(&mut orphaned).less(Said::by(span));
            match Edit::of(self.rules, span, raw, missing) {
                Some(edit) => {
                    self.changed = true;
                    edit.write(raw, &mut body);
                }
                None => body.extend_from_slice(raw),
            }
        }
        if kept > 0 {
            self.traces = self.traces.saturating_add(1);
            self.items = self.items.saturating_add(kept as usize);
            put_list(&mut self.out, kept);
            self.out.extend_from_slice(&body);
        } else if trace.count == 0 {
            self.traces = self.traces.saturating_add(1);
            put_list(&mut self.out, 0);
        }
    }
}

/// What one span says of its whole trace.
#[derive(Debug, Clone, Copy, Default)]
struct Said<'a> {
    high: Option<&'a [u8]>,
    priority: Option<f64>,
}

impl<'a> Said<'a> {
    fn by(span: Span<'a>) -> Self {
        let priority = span.metrics().filter(|(key, _)| *key == PRIORITY.as_bytes());
        Self { high: span.tag(HIGH_ID), priority: priority.map(|(_, value)| value).last() }
    }

    fn join(&mut self, other: Self) {
        self.high = self.high.or(other.high);
        self.priority = self.priority.or(other.priority);
    }

    fn less(self, other: Self) -> Self {
        Self {
            high: self.high.filter(|_| other.high.is_none()),
            priority: self.priority.filter(|_| other.priority.is_none()),
        }
    }
}

/// A span whose `meta` and `metrics` are written anew, and what else changes.
struct Edit<'a> {
    name: Option<String>,
    resource: Option<String>,
    /// Encoded.
    links: Option<Vec<u8>>,
    events: Option<Vec<u8>>,
    meta: Vec<(&'a [u8], Cow<'a, [u8]>)>,
    metrics: Vec<(&'a [u8], f64)>,
}

impl<'a> Edit<'a> {
    /// None if nothing changes.
    fn of(rules: &Rules, span: Span<'a>, raw: &[u8], missing: Said<'a>) -> Option<Self> {
        let name = rules.span_name(&lossy(span.name));
        let resource = rules.span_name(&lossy(span.resource));
        let links = span.has_links().then(|| redacted(rules, raw, b"span_links")).flatten();
        let events = span.has_events().then(|| redacted(rules, raw, b"span_events")).flatten();
        let mut changed = name.is_some() || resource.is_some() || links.is_some();
        changed |= events.is_some() || missing.high.is_some() || missing.priority.is_some();
        let (meta, metrics) = (Vec::new(), Vec::new());
        let mut edit = Self { name, resource, links, events, meta, metrics };
        for (key, value) in span.meta() {
            let value = match rules.attribute(&lossy(key), &lossy(value)) {
                Verdict::Keep => Cow::Borrowed(value),
                Verdict::Drop => {
                    changed = true;
                    continue;
                }
                Verdict::Replace(new) => {
                    changed = true;
                    Cow::Owned(new.into_bytes())
                }
            };
            edit.meta.push((key, value));
        }
        for (key, value) in span.metrics() {
            match rules.attribute(&lossy(key), &value.to_string()) {
                Verdict::Keep => edit.metrics.push((key, value)),
                Verdict::Drop => changed = true,
                // What is no number any more is text.
                Verdict::Replace(new) => {
                    changed = true;
                    edit.meta.push((key, Cow::Owned(new.into_bytes())));
                }
            }
        }
        if !changed {
            return None;
        }
        edit.meta.extend(missing.high.map(|high| (HIGH_ID.as_bytes(), Cow::Borrowed(high))));
        edit.metrics.extend(missing.priority.map(|priority| (PRIORITY.as_bytes(), priority)));
        Some(edit)
    }

    /// Writes the span `raw` with these in place of its own.
    fn write(&self, raw: &[u8], out: &mut Vec<u8>) {
        let mut reader = Reader::new(raw);
        let count = reader.map("a span").unwrap_or(0);
        let (mut fields, mut body) = (2_u32, Vec::with_capacity(raw.len()));
        for _ in 0..count {
            let start = reader;
            let Ok(name) = reader.text("a field's name") else { break };
            let value = reader;
            if reader.skip().is_err() {
                break;
            }
            let text = |text: &String| {
                let mut value = Vec::with_capacity(text.len().saturating_add(5));
                put_text(&mut value, text.as_bytes());
                value
            };
            let new = match name {
                b"meta" | b"metrics" => continue,
                b"name" => self.name.as_ref().map(text),
                b"resource" => self.resource.as_ref().map(text),
                b"span_links" => self.links.clone(),
                b"span_events" => self.events.clone(),
                _ => None,
            };
            fields = fields.saturating_add(1);
            body.extend_from_slice(start.until(value));
            body.extend_from_slice(new.as_deref().unwrap_or(value.until(reader)));
        }
        put_map(out, fields);
        out.extend_from_slice(&body);
        put_text(out, b"meta");
        put_map(out, u32::try_from(self.meta.len()).unwrap_or(u32::MAX));
        for (key, value) in &self.meta {
            put_text(out, key);
            put_text(out, value);
        }
        put_text(out, b"metrics");
        put_map(out, u32::try_from(self.metrics.len()).unwrap_or(u32::MAX));
        for (key, value) in &self.metrics {
            put_text(out, key);
            put_float(out, *value);
        }
    }
}

/// A field of the span `raw` with its texts redacted, if it is there and differs.
fn redacted(rules: &Rules, raw: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(raw);
    let (mut out, mut changed) = (Vec::new(), false);
    for _ in 0..reader.map("a span").ok()? {
        let name = reader.text("a field's name").ok()?;
        let value = reader;
        reader.skip().ok()?;
        if name != wanted {
            continue;
        }
        // The last one counts. Heads of lists and maps stay, so what is in them can be written as it comes.
        (out, changed) = (Vec::new(), false);
        let mut rest = Reader::new(value.until(reader));
        while !rest.rest().is_empty() {
            let start = rest;
            let new = match rest.token().ok()? {
                Token::Text(text) => rules.text(&lossy(text)),
                _ => None,
            };
            match new {
                Some(new) => {
                    changed = true;
                    put_text(&mut out, new.as_bytes());
                }
                None => out.extend_from_slice(start.until(rest)),
            }
        }
    }
    changed.then_some(out)
}

impl SpanFacts for Span<'_> {
    fn name(&self) -> &str {
        let name = if self.resource.is_empty() { self.name } else { self.resource };
        std::str::from_utf8(name).unwrap_or_default()
    }

    fn kind(&self) -> Option<SpanKind> {
        Some(match kind_of(self.tag(KIND), self.kind) {
            Some(kind::SERVER) => SpanKind::Server,
            Some(kind::CLIENT) => SpanKind::Client,
            Some(kind::PRODUCER) => SpanKind::Producer,
            Some(kind::CONSUMER) => SpanKind::Consumer,
            _ => SpanKind::Internal,
        })
    }

    fn status(&self) -> SpanStatus {
        match self.status_code() {
            status::ERROR => SpanStatus::Error,
            status::OK => SpanStatus::Ok,
            _ => SpanStatus::Unset,
        }
    }

    fn duration(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.duration).unwrap_or(0))
    }

    fn attribute(&self, key: &str) -> Option<Cow<'_, str>> {
        let number = || {
            let metrics = self.metrics().filter(|(name, _)| *name == key.as_bytes());
            metrics.map(|(_, value)| Cow::Owned(value.to_string())).last()
        };
        self.tag(key).map(lossy).or_else(number)
    }

    fn resource_attribute(&self, key: &str) -> Option<Cow<'_, str>> {
        match key {
            names::SERVICE_NAME => Some(lossy(self.service)).filter(|name| !name.is_empty()),
            names::ENVIRONMENT => self.tag(ENVIRONMENT).map(lossy),
            names::SERVICE_VERSION => self.tag(VERSION).map(lossy),
            _ => None,
        }
    }
}
