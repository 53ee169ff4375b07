//! Rules for spans that stay in a form of their own: Zipkin, Datadog.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ursa_model::pipeline::processor::{AttributePlace, SignalName, SpanKind, SpanStatus};

use super::Step;
use super::filter::{Item, Seen};
use super::keys::{Fate, hash};
use super::urls::{REDACTED, Urls};

/// What becomes of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It is removed.
    Drop,
    /// It has this value now.
    Replace(String),
}

/// What filters ask of a span.
pub trait SpanFacts {
    /// Its name.
    fn name(&self) -> &str;
    /// Its kind, if it says one.
    fn kind(&self) -> Option<SpanKind>;
    /// Its status.
    fn status(&self) -> SpanStatus;
    /// How long it took.
    fn duration(&self) -> Duration;
    /// An attribute as text.
    fn attribute(&self, key: &str) -> Option<Cow<'_, str>>;
    /// An attribute of what OTLP calls its resource, as text.
    fn resource_attribute(&self, key: &str) -> Option<Cow<'_, str>>;
}

pub(super) fn attribute(steps: &[Step], key: &str, value: &str) -> Verdict {
    let mut now: Option<Vec<u8>> = None;
    for step in steps {
        let text = now.as_deref().unwrap_or(value.as_bytes());
        let new = match step {
            Step::Keys(keys) if keys.places.contains(&AttributePlace::Span) => {
                match keys.fate(key.as_bytes()) {
                    Fate::Keep => None,
                    Fate::Remove => return Verdict::Drop,
                    Fate::Redact => Some(REDACTED.to_vec()),
                    Fate::Hash => Some(hash(text)),
                }
            }
            Step::Urls(urls) => urls.attribute(key.as_bytes(), text),
            _ => None,
        };
        now = new.or(now);
    }
    match now {
        Some(text) if text != value.as_bytes() => {
            Verdict::Replace(String::from_utf8_lossy(&text).into_owned())
        }
        _ => Verdict::Keep,
    }
}

pub(super) fn text(steps: &[Step], text: &str) -> Option<String> {
    redacted(steps, text, |urls, text| urls.attribute(&[], text))
}

pub(super) fn name(steps: &[Step], name: &str) -> Option<String> {
    redacted(steps, name, Urls::name)
}

fn redacted(
    steps: &[Step],
    text: &str,
    redact: impl Fn(&Urls, &[u8]) -> Option<Vec<u8>>,
) -> Option<String> {
    let mut now: Option<Vec<u8>> = None;
    for step in steps {
        if let Step::Urls(urls) = step {
            now = redact(urls, now.as_deref().unwrap_or(text.as_bytes())).or(now);
        }
    }
    now.map(|text| String::from_utf8_lossy(&text).into_owned())
}

pub(super) fn keeps(steps: &[Step], span: &dyn SpanFacts) -> Result<(), Arc<str>> {
    let bytes = |text: Option<Cow<'_, str>>| match text {
        None => Seen::Absent,
        Some(text) => Seen::Text(Cow::Owned(text.into_owned().into_bytes())),
    };
    let text = |key: &[u8]| std::str::from_utf8(key).unwrap_or_default().to_owned();
    let item = Item {
        signal: SignalName::Traces,
        name: span.name().as_bytes(),
        kind: span.kind().map_or(0, SpanKind::number),
        status: span.status().number(),
        nanoseconds: u64::try_from(span.duration().as_nanos()).unwrap_or(u64::MAX),
        severity: 0,
    };
    for step in steps {
        let Step::Filter { filter, .. } = step else { continue };
        let resource = |index: usize| {
            let of_resource = |key: &[u8]| bytes(span.resource_attribute(&text(key)));
            filter.conditions.get(index).is_some_and(|one| one.meets_resource(&of_resource))
        };
        if !filter.keeps(&item, &resource, &|key| bytes(span.attribute(&text(key)))) {
            return Err(Arc::clone(&filter.name));
        }
    }
    Ok(())
}
