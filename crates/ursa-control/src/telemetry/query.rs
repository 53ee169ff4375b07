//! What a listing of traces asks for, and the search.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::facts::Attribute;
use super::origins::{OriginId, Origins, resource_attributes};
use super::trace::Trace;
use super::traces::{Place, Traces};
use super::view::TraceSummary;
use super::wire::{Field, Value, fields};

/// How many traces are listed when no limit is given.
pub const DEFAULT_LIMIT: usize = 20;
/// How many traces may be listed at once.
pub const MAX_LIMIT: usize = 1000;
/// How many tags one query may name.
pub const MAX_TAGS: usize = 16;
/// So many bytes of spans are looked through before others may use the window.
const EXAMINED_AT_ONCE: usize = 512 << 10;

/// Which traces to list. All conditions hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceQuery {
    /// A span is of this service.
    pub service: Option<String>,
    /// From the first start to the last end it took at least this long. Default 0.
    pub min_duration: Duration,
    /// A span failed. Default: whether or not.
    pub errors: bool,
    /// One span has all of these, as its own or its resource's attributes; numbers and truth values by their text.
    pub tags: Vec<(String, String)>,
    /// It began then or later.
    pub since: Option<Timestamp>,
    /// At most so many, the newest. Default [`DEFAULT_LIMIT`].
    pub limit: usize,
}

impl Default for TraceQuery {
    fn default() -> Self {
        Self {
            service: None,
            min_duration: Duration::ZERO,
            errors: false,
            tags: Vec::new(),
            since: None,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// A parameter that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidParameter {
    /// Its name.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// Every parameter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid parameters: {}", .0.iter().map(|invalid| invalid.field.as_str()).collect::<Vec<_>>().join(", "))]
pub struct InvalidParameters(pub Vec<InvalidParameter>);

impl TraceQuery {
    /// Reads the parameters of a URL. A duration in `since` counts back from `now`.
    ///
    /// # Errors
    /// All parameters that are unknown, or whose value is not of their form.
    pub fn parse(
        parameters: &[(String, String)],
        now: Timestamp,
    ) -> Result<Self, InvalidParameters> {
        let mut query = Self::default();
        let mut invalid = Vec::new();
        for (name, value) in parameters {
            if let Err(reason) = query.set(name, value, now) {
                invalid.push(InvalidParameter { field: name.clone(), reason });
            }
        }
        if invalid.is_empty() { Ok(query) } else { Err(InvalidParameters(invalid)) }
    }

    fn set(&mut self, name: &str, value: &str, now: Timestamp) -> Result<(), String> {
        match name {
            "service" => {
                self.service = Some(value.to_owned()).filter(|service| !service.is_empty());
            }
            "minDuration" => self.min_duration = duration(value)?,
            "errors" => {
                self.errors = value
                    .parse()
                    .map_err(|_| format!("`{value}` is neither `true` nor `false`"))?;
            }
            "tag" => {
                let (key, value) =
                    value.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                        format!(
                            "`{value}` is not of the form `key=value`, like `http.status_code=503`"
                        )
                    })?;
                if self.tags.len() >= MAX_TAGS {
                    return Err(format!("at most {MAX_TAGS} tags can be asked for at once"));
                }
                self.tags.push((key.to_owned(), value.to_owned()));
            }
            "since" => self.since = Some(since(value, now)?),
            "limit" => {
                self.limit =
                    value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(
                        || format!("`{value}` is not a number from 1 to {MAX_LIMIT}"),
                    )?;
            }
            _ => {
                return Err(
                    "unknown; known are service, minDuration, errors, tag, since, limit".to_owned()
                );
            }
        }
        Ok(())
    }

    /// Looks through some more traces. True when there is nothing more to find.
    pub(super) fn step(&self, traces: &Traces, search: &mut Search) -> bool {
        let mut examined = 0;
        let since = self.since.map_or(0, |since| u64::try_from(since.as_nanosecond()).unwrap_or(0));
        let mut tags = TagMatcher { tags: &self.tags, of_origins: HashMap::new() };
        for (place, trace) in traces.newest(search.place) {
            if search.found.len() >= self.limit || trace.start < since {
                return true;
            }
            if examined >= EXAMINED_AT_ONCE {
                return false;
            }
            search.place = Some(place);
            examined += size_of::<Trace>();
            // It began earlier than was known when the search came by first.
            let again = || search.found.iter().any(|found| found.trace_id == trace.id);
            if !self.matches_figures(trace) || again() {
                continue;
            }
            if !self.tags.is_empty() {
                examined += trace.cost();
                if !tags.matches(trace, traces.origins()) {
                    continue;
                }
            }
            search.found.push(TraceSummary::of(trace, traces.origins()));
        }
        true
    }

    fn matches_figures(&self, trace: &Trace) -> bool {
        self.service.as_deref().is_none_or(|service| trace.has_service(service))
            && (!self.errors || trace.errors > 0)
            && Duration::from_nanos(trace.end.saturating_sub(trace.start)) >= self.min_duration
    }
}

/// How far a search has come.
#[derive(Debug, Default)]
pub(super) struct Search {
    place: Option<Place>,
    pub(super) found: Vec<TraceSummary>,
}

/// Sets of the tags asked for, as bits in their order.
type TagSet = u16;

/// Finds spans that have all the tags asked for.
struct TagMatcher<'q> {
    tags: &'q [(String, String)],
    of_origins: HashMap<OriginId, TagSet>,
}

impl TagMatcher<'_> {
    fn matches(&mut self, trace: &Trace, origins: &Origins) -> bool {
        let all = TagSet::MAX >> (TagSet::BITS as usize - self.tags.len().min(MAX_TAGS));
        trace.spans.iter().any(|span| {
            let mut found = *self.of_origins.entry(span.origin).or_insert_with(|| {
                let mut found = 0;
                if let Some(origin) = origins.get(span.origin) {
                    resource_attributes(&origin.encoded, |attribute| {
                        found |= which(self.tags, &attribute);
                    });
                }
                found
            });
            for field in fields(&span.encoded).map_while(Result::ok) {
                if found == all {
                    break;
                }
                if let Field { number: 9, value: Value::Bytes(attribute), .. } = field {
                    found |= Attribute::read(attribute)
                        .map_or(0, |attribute| which(self.tags, &attribute));
                }
            }
            found == all
        })
    }
}

fn which(tags: &[(String, String)], attribute: &Attribute<'_>) -> TagSet {
    let bits = (0..TagSet::BITS).zip(tags);
    bits.filter(|(_, (key, value))| attribute.is(key, value))
        .fold(0, |set, (bit, _)| set | 1 << bit)
}

/// A duration as the command line and the policies write it, like `250ms` or `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Option<SignedDuration> = text.parse().ok();
    let positive = parsed.and_then(|duration| Duration::try_from(duration).ok());
    positive.ok_or_else(|| format!("`{text}` is not a duration like `250ms`, `2s` or `1m30s`"))
}

fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(back) = duration(text) {
        return now.checked_sub(back).map_err(|_| format!("`{text}` is too long ago"));
    }
    text.parse().map_err(|_| {
        format!("`{text}` is neither a duration like `5m` nor a time like `2026-08-01T12:00:00Z`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TraceQuery, InvalidParameters> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<_> =
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        TraceQuery::parse(&pairs, "2026-08-01T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn parameters_are_read() {
        let query =
            parse("service=cart&minDuration=1.5s&errors=true&tag=k=v=w&tag=a=&since=5m&limit=7")
                .unwrap();
        let expected = TraceQuery {
            service: Some("cart".to_owned()),
            min_duration: Duration::from_millis(1500),
            errors: true,
            tags: vec![("k".to_owned(), "v=w".to_owned()), ("a".to_owned(), String::new())],
            since: Some("2026-08-01T11:55:00Z".parse().unwrap()),
            limit: 7,
        };
        assert_eq!(query, expected);
        assert_eq!(parse("service="), Ok(TraceQuery::default()));
        assert_eq!(parse("since=2026-08-01T00:00:00%2B").unwrap_err().0.len(), 1);
    }

    #[test]
    fn every_wrong_parameter_is_named_with_its_reason() {
        let InvalidParameters(invalid) = parse(
            "minDuration=soon&errors=yes&tag=x&limit=0&since=later&minDuraton=1s&minDuration=-1s",
        )
        .unwrap_err();
        let report: Vec<_> = invalid
            .iter()
            .map(|invalid| format!("{}: {}", invalid.field, invalid.reason))
            .collect();
        insta::assert_snapshot!(report.join("\n"), @r"
        minDuration: `soon` is not a duration like `250ms`, `2s` or `1m30s`
        errors: `yes` is neither `true` nor `false`
        tag: `x` is not of the form `key=value`, like `http.status_code=503`
        limit: `0` is not a number from 1 to 1000
        since: `later` is neither a duration like `5m` nor a time like `2026-08-01T12:00:00Z`
        minDuraton: unknown; known are service, minDuration, errors, tag, since, limit
        minDuration: `-1s` is not a duration like `250ms`, `2s` or `1m30s`
        ");
    }
}
