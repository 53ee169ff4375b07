//! Filters, compiled.

use std::borrow::Cow;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use ursa_model::pipeline::processor::{
    self as model, AttributeMatch, MAX_REGEX_BYTES, SignalName, TextMatch,
};

use super::CompileError;

/// A filter.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) name: Arc<str>,
    /// Whether what meets a condition is kept; else it is dropped.
    keep: bool,
    pub(super) conditions: Vec<Condition>,
    signals: Vec<SignalName>,
}

/// A condition: all that is set must hold.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    span_name: Option<Text>,
    kind: Option<i32>,
    status: Option<i32>,
    shorter_than: Option<u64>,
    at_least: Option<u64>,
    metric_name: Option<Text>,
    severity_below: Option<i32>,
    pub(super) attributes: Vec<(Vec<u8>, Value)>,
    pub(super) resource: Vec<(Vec<u8>, Value)>,
    signals: Vec<SignalName>,
}

#[derive(Debug, Clone)]
pub(super) enum Text {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Regex(Regex),
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(Text),
    Present(bool),
}

/// An item as filters see it.
pub(super) struct Item<'i> {
    pub(super) signal: SignalName,
    /// The span's or the metric's.
    pub(super) name: &'i [u8],
    pub(super) kind: i32,
    pub(super) status: i32,
    pub(super) nanoseconds: u64,
    pub(super) severity: i32,
}

/// An attribute's value as filters see it.
pub(super) enum Seen<'i> {
    Absent,
    /// There, and no scalar.
    Other,
    Text(Cow<'i, [u8]>),
}

impl Filter {
    pub(super) fn new(spec: &model::Filter) -> Result<Self, CompileError> {
        let conditions = spec.conditions().iter();
        let conditions: Result<_, _> =
            conditions.map(|condition| Condition::new(condition, &spec.name)).collect();
        let all = [SignalName::Traces, SignalName::Metrics, SignalName::Logs];
        Ok(Self {
            name: spec.name.as_str().into(),
            keep: !spec.keep.is_empty(),
            conditions: conditions?,
            signals: all.into_iter().filter(|signal| spec.acts_on(*signal)).collect(),
        })
    }

    pub(super) fn acts_on(&self, signal: SignalName) -> bool {
        self.signals.contains(&signal)
    }

    /// Whether the item stays. `resource` says which conditions the resource meets.
    pub(super) fn keeps<'i>(
        &self,
        item: &Item<'_>,
        resource: &dyn Fn(usize) -> bool,
        attribute: &dyn Fn(&[u8]) -> Seen<'i>,
    ) -> bool {
        let meets = |(index, condition): (usize, &Condition)| {
            condition.holds(item)
                && resource(index)
                && condition.attributes.iter().all(|(key, value)| value.holds(&attribute(key)))
        };
        self.conditions.iter().enumerate().any(meets) == self.keep
    }
}

impl Condition {
    fn new(spec: &model::Condition, filter: &str) -> Result<Self, CompileError> {
        let attributes = |map: &std::collections::BTreeMap<String, AttributeMatch>| {
            map.iter()
                .map(|(key, value)| Ok((key.clone().into_bytes(), Value::new(value, filter)?)))
                .collect::<Result<Vec<_>, CompileError>>()
        };
        let text = |text: &Option<TextMatch>| {
            text.as_ref().map(|text| Text::new(text, filter)).transpose()
        };
        let nanoseconds = |duration: ursa_model::duration::Duration| {
            u64::try_from(duration.get().as_nanos()).unwrap_or(u64::MAX)
        };
        let all = [SignalName::Traces, SignalName::Metrics, SignalName::Logs];
        Ok(Self {
            span_name: text(&spec.span_name)?,
            kind: spec.kind.map(model::SpanKind::number),
            status: spec.status.map(model::SpanStatus::number),
            shorter_than: spec.shorter_than.map(nanoseconds),
            at_least: spec.at_least.map(nanoseconds),
            metric_name: text(&spec.metric_name)?,
            severity_below: spec.severity_below.map(model::Severity::number),
            attributes: attributes(&spec.attributes)?,
            resource: attributes(&spec.resource_attributes)?,
            signals: all.into_iter().filter(|signal| spec.speaks_of(*signal)).collect(),
        })
    }

    /// Whether all holds but what is said of attributes.
    fn holds(&self, item: &Item<'_>) -> bool {
        self.signals.contains(&item.signal)
            && self.kind.is_none_or(|kind| kind == item.kind)
            && self.status.is_none_or(|status| status == item.status)
            && self.shorter_than.is_none_or(|limit| item.nanoseconds < limit)
            && self.at_least.is_none_or(|limit| item.nanoseconds >= limit)
            && self.severity_below.is_none_or(|limit| item.severity < limit)
            && self.span_name.as_ref().is_none_or(|text| text.holds(item.name))
            && self.metric_name.as_ref().is_none_or(|text| text.holds(item.name))
    }

    /// Whether the resource meets it.
    pub(super) fn meets_resource<'i>(&self, attribute: &dyn Fn(&[u8]) -> Seen<'i>) -> bool {
        self.resource.iter().all(|(key, value)| value.holds(&attribute(key)))
    }
}

impl Text {
    fn new(spec: &TextMatch, filter: &str) -> Result<Self, CompileError> {
        Ok(match spec {
            TextMatch::Exact(text) => Self::Exact(text.clone().into_bytes()),
            TextMatch::Prefix(text) => Self::Prefix(text.clone().into_bytes()),
            TextMatch::Regex(text) => Self::Regex(regex(text, filter)?),
        })
    }

    fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(other) => text == other,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Value {
    fn new(spec: &AttributeMatch, filter: &str) -> Result<Self, CompileError> {
        Ok(match spec {
            AttributeMatch::Exact(text) => Self::Text(Text::Exact(text.clone().into_bytes())),
            AttributeMatch::Prefix(text) => Self::Text(Text::Prefix(text.clone().into_bytes())),
            AttributeMatch::Regex(text) => Self::Text(Text::Regex(regex(text, filter)?)),
            AttributeMatch::Present(present) => Self::Present(*present),
        })
    }

    fn holds(&self, seen: &Seen<'_>) -> bool {
        match (self, seen) {
            (Self::Present(present), seen) => *present != matches!(seen, Seen::Absent),
            (Self::Text(text), Seen::Text(seen)) => text.holds(seen),
            (Self::Text(_), Seen::Absent | Seen::Other) => false,
        }
    }
}

fn regex(text: &str, filter: &str) -> Result<Regex, CompileError> {
    RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build().map_err(|source| {
        CompileError::Regex { filter: filter.to_owned(), regex: text.to_owned(), source }
    })
}
