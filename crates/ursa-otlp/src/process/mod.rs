//! What processors do to telemetry: compiled once, done in one pass over the bytes.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod native;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use ursa_model::pipeline::Processor;

pub use native::{SpanFacts, Verdict};

use crate::Signal;
use crate::wire::{self, ResourceAttributes, SpanId, WireError};

/// Processors and resource attributes, compiled.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    base: ResourceAttributes,
    identity: bool,
}

/// A processor that cannot work. Validation reports the same with its place.
#[derive(Debug, Error)]
pub enum CompileError {
    /// A regular expression is malformed or too large.
    #[error("regular expression {regex:?} of filter {filter} cannot be used")]
    Regex {
        /// The filter's name.
        filter: String,
        /// The expression.
        regex: String,
        /// What is wrong.
        source: regex::Error,
    },
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// What goes on; the request itself if nothing changed.
    pub request: Bytes,
    /// How many items it holds.
    pub items: usize,
    /// What was dropped, by filter, in their order; filters that dropped nothing are left out.
    /// `items` and these together are what came in.
    pub filtered: Vec<Filtered>,
}

/// What one filter dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// The filter's name.
    pub rule: Arc<str>,
    /// How many spans, data points or log records.
    pub items: usize,
    /// Which spans. Empty for other signals.
    pub spans: Vec<SpanId>,
}

impl Rules {
    /// `set` and `fill` are put on resources first (`set` replaces what a resource says, `fill` is
    /// added where the key is absent); then `processors` act in order. Their values are taken as
    /// they are: templates are rendered before. URLs are redacted last, unless a processor does.
    ///
    /// # Errors
    /// A regular expression cannot be compiled.
    pub fn compile(
        set: &BTreeMap<String, String>,
        fill: &BTreeMap<String, String>,
        processors: &[Processor],
    ) -> Result<Self, CompileError> {
        let identity = set.is_empty() && fill.is_empty() && processors.is_empty();
        Ok(Self { base: ResourceAttributes::new(set, fill), identity })
    }

    /// Whether they change nothing in that signal.
    pub fn is_identity(&self, _signal: Signal) -> bool {
        self.identity
    }

    /// Applies them to a request that has passed [`wire::check`].
    ///
    /// # Errors
    /// The request does not walk.
    pub fn apply(&self, signal: Signal, request: &Bytes) -> Result<Processed, WireError> {
        let items = wire::check(signal, request)?;
        Ok(Processed { request: self.base.apply(request)?, items, filtered: Vec::new() })
    }

    /// What they do to an attribute of a span in a form other than OTLP: rules for attributes and
    /// redaction of URLs. Conventions are not applied, since such a span goes to a backend that
    /// expects the names of its own form.
    pub fn attribute(&self, _key: &str, _value: &str) -> Verdict {
        Verdict::Keep
    }

    /// Whether filters keep a span in a form other than OTLP. They see it as it came.
    ///
    /// # Errors
    /// The name of the filter that drops it.
    pub fn keeps(&self, _span: &dyn SpanFacts) -> Result<(), Arc<str>> {
        Ok(())
    }
}
