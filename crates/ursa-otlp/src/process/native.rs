//! Rules for spans that stay in a form of their own: Zipkin, Datadog.

use std::borrow::Cow;
use std::time::Duration;

use ursa_model::pipeline::processor::{SpanKind, SpanStatus};

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
