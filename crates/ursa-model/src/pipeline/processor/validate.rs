//! What is refused in a processor.

use std::collections::BTreeMap;

use regex::bytes::RegexBuilder;

use super::filter::{AttributeMatch, Condition, Filter, MAX_REGEX_BYTES, TextMatch};
use super::{AttributeRules, Processor, RedactUrls, ResourceAttributes, SignalName, SpanName};
use crate::backend::validate_attributes;
use crate::report::Cursor;

/// Bounds of what one file may ask for; every item is held against all of it.
const MAX_PATTERNS: usize = 256;

impl Processor {
    /// Reports contradictions and values that cannot work. The cursor stands on the processor: on the
    /// object whose one field is its kind.
    pub fn validate(&self, cursor: &Cursor<'_>) {
        match self {
            Self::ResourceAttributes(rules) => rules.validate(&cursor.at("resourceAttributes")),
            Self::SemanticConventions(_) => {}
            Self::EnvoyTags(tags) => tags.validate(&cursor.at("envoyTags")),
            Self::Baggage(rules) => rules.validate(&cursor.at("baggage")),
            Self::SpanName(name) => {
                SpanName::validate(&name.template, &cursor.at("spanName.template"));
            }
            Self::Attributes(rules) => rules.validate(&cursor.at("attributes")),
            Self::RedactUrls(rules) => rules.validate(&cursor.at("redactUrls")),
            Self::Filter(filter) => filter.validate(&cursor.at("filter")),
        }
    }

    /// Reports what is wrong with any of `processors`, and names of filters that stand there twice.
    /// The cursor stands on their list.
    pub fn validate_all(processors: &[Self], cursor: &Cursor<'_>) {
        let mut names = BTreeMap::new();
        for (index, processor) in processors.iter().enumerate() {
            let cursor = cursor.index(index);
            processor.validate(&cursor);
            let Self::Filter(filter) = processor else { continue };
            if let Some(first) = names.insert(&filter.name, index) {
                let name = cursor.at("filter.name");
                name.refuse(format!(
                    "is the name of processor {first} too; what they drop is counted by name"
                ));
            }
        }
    }
}

impl ResourceAttributes {
    fn validate(&self, cursor: &Cursor<'_>) {
        validate_attributes(&self.set, &cursor.at("set"));
        validate_attributes(&self.fill, &cursor.at("fill"));
        validate_keys(&self.remove, &cursor.at("remove"));
        if self.set.is_empty() && self.fill.is_empty() && self.remove.is_empty() {
            cursor.refuse("does nothing; say what to `set`, `fill` or `remove`");
        }
        for (index, key) in self.remove.iter().enumerate() {
            let cursor = cursor.at("remove").index(index);
            if self.set.contains_key(key) {
                cursor.warn("has no effect: `set` replaces it anyway");
            }
        }
        for key in self.fill.keys().filter(|key| self.set.contains_key(*key)) {
            cursor.at("fill").key(key).warn("has no effect: `set` has the same key");
        }
    }
}

impl AttributeRules {
    fn validate(&self, cursor: &Cursor<'_>) {
        let lists = [
            ("include", self.include.as_deref().unwrap_or_default()),
            ("exclude", &self.exclude),
            ("redact", &self.redact),
            ("hash", &self.hash),
        ];
        for (field, patterns) in lists {
            validate_patterns(patterns, &cursor.at(field));
        }
        if self.include.is_none() && lists.iter().all(|(_, patterns)| patterns.is_empty()) {
            cursor.refuse("does nothing; say what to `include`, `exclude`, `redact` or `hash`");
        }
        if self.places.as_ref().is_some_and(Vec::is_empty) {
            cursor.at("in").refuse("names no place; leave it out for the usual ones");
        }
    }
}

impl RedactUrls {
    fn validate(&self, cursor: &Cursor<'_>) {
        validate_keys(&self.also, &cursor.at("also"));
    }
}

impl Filter {
    fn validate(&self, cursor: &Cursor<'_>) {
        if self.name.trim().is_empty() {
            cursor.at("name").refuse("a filter needs a name; what it drops is counted under it");
        }
        match (self.drop.is_empty(), self.keep.is_empty()) {
            (true, true) => cursor.refuse("needs conditions: `drop` or `keep`"),
            (false, false) => cursor.at("keep").refuse_with_hint(
                "`drop` and `keep` exclude each other",
                "write two filters, one after the other",
            ),
            _ => {}
        }
        if self.signals.as_ref().is_some_and(Vec::is_empty) {
            cursor.at("signals").refuse("names no signal; leave it out for all");
        }
        if self.drop.len().max(self.keep.len()) > MAX_PATTERNS {
            cursor.refuse(format!("has more than {MAX_PATTERNS} conditions"));
        }
        for (field, conditions) in [("drop", &self.drop), ("keep", &self.keep)] {
            for (index, condition) in conditions.iter().enumerate() {
                let cursor = cursor.at(field).index(index);
                condition.validate(&cursor);
                let signals = [SignalName::Traces, SignalName::Metrics, SignalName::Logs];
                let mut meant = signals.into_iter().filter(|signal| self.acts_on(*signal));
                if !meant.any(|signal| condition.speaks_of(signal)) {
                    cursor.refuse(
                        "never holds: it speaks of a signal that this filter does not act on",
                    );
                }
            }
        }
    }
}

impl Condition {
    fn validate(&self, cursor: &Cursor<'_>) {
        if self.is_empty() {
            cursor.refuse("says nothing, and so would hold for everything");
        }
        for (field, text) in [("spanName", &self.span_name), ("metricName", &self.metric_name)] {
            if let Some(TextMatch::Regex(regex)) = text {
                validate_regex(regex, &cursor.at(field).at("regex"));
            }
        }
        let attributes =
            [("attributes", &self.attributes), ("resourceAttributes", &self.resource_attributes)];
        for (field, attributes) in attributes {
            for (key, attribute) in attributes {
                let cursor = cursor.at(field).key(key);
                if key.is_empty() {
                    cursor.refuse("an attribute needs a name");
                }
                if let AttributeMatch::Regex(regex) = attribute {
                    validate_regex(regex, &cursor.at("regex"));
                }
            }
        }
        if let (Some(least), Some(most)) = (self.at_least, self.shorter_than)
            && least >= most
        {
            cursor.at("atLeast").refuse("is not less than `shorterThan`, so nothing is both");
        }
    }
}

fn validate_keys(keys: &[String], cursor: &Cursor<'_>) {
    for (index, key) in keys.iter().enumerate() {
        if key.is_empty() {
            cursor.index(index).refuse("an attribute needs a name");
        }
    }
}

fn validate_patterns(patterns: &[String], cursor: &Cursor<'_>) {
    if patterns.len() > MAX_PATTERNS {
        cursor.refuse(format!("has more than {MAX_PATTERNS} names"));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let cursor = cursor.index(index);
        if pattern.is_empty() {
            cursor.refuse("an attribute needs a name");
        }
        if pattern.trim_end_matches('*').contains('*') || pattern.ends_with("**") {
            cursor.refuse_with_hint(
                "`*` stands at the end only",
                "write a whole name, `prefix*`, or `*`",
            );
        }
    }
}

/// Refuses an expression that cannot be compiled. The cursor stands on it.
pub fn validate_regex(regex: &str, cursor: &Cursor<'_>) {
    if let Err(error) = RegexBuilder::new(regex).size_limit(MAX_REGEX_BYTES).build() {
        match error {
            regex::Error::CompiledTooBig(_) => cursor.refuse("is too large once compiled"),
            error => {
                // The last line says what is wrong; those before it draw the place.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                cursor.refuse(reason.strip_prefix("error: ").unwrap_or(reason));
            }
        }
    }
}
