//! What processors mean, on decoded messages: plain and slow.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use regex::Regex;
use ursa_model::pipeline::Processor;
use ursa_model::pipeline::processor::{
    AttributeMatch, AttributePlace, AttributeRules, Condition, QueryRedaction, RedactUrls,
    ResourceAttributes, TextMatch,
};

use crate::process::keys::hash;

pub(super) fn text(value: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) })
}

pub(super) fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Applies `processors`, and gives what each filter dropped.
pub(super) fn apply(
    request: &mut ExportTraceServiceRequest,
    processors: &[Processor],
) -> Vec<(String, usize)> {
    let mut dropped = vec![0; processors.len()];
    for resource_spans in &mut request.resource_spans {
        let resource = &mut resource_spans.resource;
        // The resource as each of them leaves it.
        let resources: Vec<Vec<KeyValue>> =
            processors.iter().map(|processor| to_resource(processor, resource)).collect();
        for scope in &mut resource_spans.scope_spans {
            if let Some(scope) = &mut scope.scope {
                for spec in processors.iter().filter_map(|one| keys_of(one, AttributePlace::Scope))
                {
                    keys(spec, &mut scope.attributes);
                }
            }
            let mut renamed = false;
            scope.spans.retain_mut(|span| {
                let mut mine = false;
                for (at, processor) in processors.iter().enumerate() {
                    match to_span(processor, &resources[at], span) {
                        Fate::Dropped => {
                            dropped[at] += 1;
                            return false;
                        }
                        Fate::Renamed => mine = true,
                        Fate::Kept => {}
                    }
                }
                renamed |= mine;
                true
            });
            if renamed {
                scope.schema_url = "https://opentelemetry.io/schemas/1.37.0".to_owned();
            }
        }
        resource_spans.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    request.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
    let by_filter = processors.iter().zip(dropped).filter(|(_, count)| *count > 0);
    let named = by_filter.map(|(processor, count)| match processor {
        Processor::Filter(filter) => (filter.name.clone(), count),
        other => panic!("{other:?} is no filter"),
    });
    named.collect()
}

enum Fate {
    Kept,
    Renamed,
    Dropped,
}

/// Applies a processor to a resource, and gives its attributes then.
fn to_resource(processor: &Processor, resource: &mut Option<Resource>) -> Vec<KeyValue> {
    let before = resource.as_ref().map(|resource| resource.attributes.clone()).unwrap_or_default();
    let mut attributes = before.clone();
    if let Processor::ResourceAttributes(spec) = processor {
        of_resource(spec, &mut attributes);
    }
    if let Some(spec) = keys_of(processor, AttributePlace::Resource) {
        keys(spec, &mut attributes);
    }
    if attributes != before {
        resource.get_or_insert_default().attributes.clone_from(&attributes);
    }
    attributes
}

fn to_span(processor: &Processor, resource: &[KeyValue], span: &mut Span) -> Fate {
    if let Some(spec) = keys_of(processor, AttributePlace::Span) {
        for list in lists(span) {
            keys(spec, list);
        }
    }
    match processor {
        Processor::RedactUrls(spec) => {
            for list in lists(span) {
                urls(spec, list);
            }
            let word = |word: &str| match word {
                _ if !word.contains(['?', '@']) => word.to_owned(),
                _ if word.starts_with('/') => redacted(spec, word),
                _ => of_text(spec, word),
            };
            span.name = span.name.split(' ').map(word).collect::<Vec<_>>().join(" ");
            if let Some(status) = &mut span.status {
                status.message = of_text(spec, &status.message);
            }
        }
        Processor::Filter(filter) => {
            let conditions = filter.conditions().iter();
            let mut met = conditions.map(|condition| holds(condition, span, resource));
            if met.any(|met| met) != filter.keep.is_empty() {
                return Fate::Kept;
            }
            return Fate::Dropped;
        }
        Processor::EnvoyTags(spec) if super::conventions::is_envoys(span) => {
            for (key, value) in &spec.set {
                span.attributes.retain(|one| one.key != *key);
                span.attributes.push(pair(key, text(value)));
            }
        }
        Processor::SemanticConventions(_) if super::conventions::apply(span) => {
            return Fate::Renamed;
        }
        _ => {}
    }
    Fate::Kept
}

/// The rules for attributes there, if it has some.
fn keys_of(processor: &Processor, place: AttributePlace) -> Option<&AttributeRules> {
    match processor {
        Processor::Attributes(spec) if places(spec).contains(&place) => Some(spec),
        _ => None,
    }
}

/// The span's own attributes, and those of what it holds.
fn lists(span: &mut Span) -> Vec<&mut Vec<KeyValue>> {
    let mut lists = vec![&mut span.attributes];
    lists.extend(span.events.iter_mut().map(|event| &mut event.attributes));
    lists.extend(span.links.iter_mut().map(|link| &mut link.attributes));
    lists
}

fn places(spec: &AttributeRules) -> Vec<AttributePlace> {
    spec.places.clone().unwrap_or_else(|| AttributePlace::ITEMS.to_vec())
}

fn of_resource(spec: &ResourceAttributes, list: &mut Vec<KeyValue>) {
    list.retain(|one| !spec.remove.contains(&one.key));
    for (key, value) in &spec.set {
        let same: Vec<_> = list.iter().filter(|one| one.key == *key).collect();
        if same.len() == 1 && same[0].value == text(value) {
            continue;
        }
        list.retain(|one| one.key != *key);
        list.push(pair(key, text(value)));
    }
    for (key, value) in &spec.fill {
        if !spec.set.contains_key(key) && !list.iter().any(|one| one.key == *key) {
            list.push(pair(key, text(value)));
        }
    }
}

fn keys(spec: &AttributeRules, list: &mut Vec<KeyValue>) {
    let named = |patterns: &[String], key: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix),
            None => key == pattern,
        })
    };
    list.retain(|one| {
        spec.include.as_ref().is_none_or(|include| named(include, &one.key))
            && !named(&spec.exclude, &one.key)
    });
    for one in list {
        if named(&spec.redact, &one.key) {
            one.value = text("REDACTED");
        } else if named(&spec.hash, &one.key) {
            let bytes = match shown(one.value.as_ref()) {
                Some(text) => text.into_bytes(),
                None => one.value.as_ref().map(Message::encode_to_vec).unwrap_or_default(),
            };
            one.value = text(std::str::from_utf8(&hash(&bytes)).unwrap());
        }
    }
}

fn shown(value: Option<&AnyValue>) -> Option<String> {
    match value?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::BoolValue(value) => Some(value.to_string()),
        Any::IntValue(value) => Some(value.to_string()),
        Any::DoubleValue(value) => Some(value.to_string()),
        _ => None,
    }
}

fn urls(spec: &RedactUrls, list: &mut [KeyValue]) {
    const KEYS: [&str; 7] = [
        "http.url",
        "http.target",
        "http.path",
        "url.full",
        "url.original",
        "url.path",
        "peer.address",
    ];
    for KeyValue { key, value, .. } in list {
        match value.as_mut().and_then(|any| any.value.as_mut()) {
            Some(Any::StringValue(text)) if key == "url.query" => *text = query(spec, text),
            Some(Any::StringValue(text))
                if KEYS.contains(&key.as_str()) || spec.also.contains(key) =>
            {
                *text = redacted(spec, text);
            }
            Some(Any::StringValue(text)) => *text = of_text(spec, text),
            Some(Any::ArrayValue(list)) => {
                for item in &mut list.values {
                    if let Some(Any::StringValue(text)) = &mut item.value {
                        *text = of_text(spec, text);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A text that is, or holds, URLs.
fn of_text(spec: &RedactUrls, text: &str) -> String {
    if begins_with_scheme(text) {
        return redacted(spec, text);
    }
    let url = Regex::new(r#"[A-Za-z0-9+.:-]+://[^\x00-\x20\x7f"`<>]*"#).unwrap();
    url.replace_all(text, |url: &regex::Captures<'_>| redacted(spec, &url[0])).into_owned()
}

fn begins_with_scheme(text: &str) -> bool {
    Regex::new("^[A-Za-z][A-Za-z0-9+.:-]{0,20}://").unwrap().is_match(text)
}

fn query(spec: &RedactUrls, query: &str) -> String {
    match spec.query.unwrap_or_default() {
        QueryRedaction::Keep => query.to_owned(),
        _ if query.is_empty() => String::new(),
        QueryRedaction::Redact => "REDACTED".to_owned(),
        QueryRedaction::Values => {
            let (query, fragment) =
                query.split_once('#').map_or((query, None), |(a, b)| (a, Some(b)));
            let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, "")) => format!("{name}="),
                Some((name, _)) => format!("{name}=REDACTED"),
                None if pair.is_empty() => String::new(),
                None => "REDACTED".to_owned(),
            });
            let pairs = pairs.collect::<Vec<_>>().join("&");
            match fragment {
                None => pairs,
                Some("") => pairs + "#",
                Some(_) => pairs + "#REDACTED",
            }
        }
    }
}

/// Of several URLs that follow each other each one.
fn redacted(spec: &RedactUrls, url: &str) -> String {
    let head = url.find(['?', '#']).map_or(url, |tail| &url[..tail]);
    let own = Regex::new("(?s)^[^/]*//").unwrap().find(head).map_or(0, |own| own.end());
    match Regex::new("[A-Za-z0-9+.:-]+://").unwrap().find_at(head, own) {
        None => redacted_url(spec, url),
        Some(next) => {
            let (one, rest) = url.split_at(next.start());
            redacted_url(spec, one) + &redacted(spec, rest)
        }
    }
}

fn redacted_url(spec: &RedactUrls, url: &str) -> String {
    let mut url = url.to_owned();
    let authority = Regex::new(r"(?s)^([^/?#]*//)?([^/?#]*)@").unwrap();
    if spec.credentials.unwrap_or(true)
        && let Some(found) = authority.captures(&url)
    {
        let user = if found[2].contains(':') { "REDACTED:REDACTED" } else { "REDACTED" };
        let start = found.get(1).map_or("", |start| start.as_str());
        url = format!("{start}{user}@{}", &url[found[0].len()..]);
    }
    if spec.query == Some(QueryRedaction::Keep) {
        return url;
    }
    match url.find(['?', '#']) {
        None => url,
        Some(at) if url[at..].starts_with('?') => {
            format!("{}?{}", &url[..at], query(spec, &url[at + 1..]))
        }
        Some(at) if at + 1 == url.len() => url,
        Some(at) => format!("{}#REDACTED", &url[..at]),
    }
}

fn holds(condition: &Condition, span: &Span, resource: &[KeyValue]) -> bool {
    let matches = |list: &[KeyValue], key: &String, expected: &AttributeMatch| {
        let found = list.iter().rev().find(|one| one.key == *key);
        let shown = found.and_then(|one| shown(one.value.as_ref()));
        match expected {
            AttributeMatch::Present(present) => *present == found.is_some(),
            AttributeMatch::Exact(text) => shown.as_ref() == Some(text),
            AttributeMatch::Prefix(prefix) => shown.is_some_and(|shown| shown.starts_with(prefix)),
            AttributeMatch::Regex(regex) => {
                shown.is_some_and(|shown| Regex::new(regex).unwrap().is_match(&shown))
            }
        }
    };
    let nanoseconds = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    let nanos = |duration: ursa_model::duration::Duration| duration.get().as_nanos();
    let code = span.status.as_ref().map_or(0, |status: &Status| status.code);
    condition.metric_name.is_none()
        && condition.severity_below.is_none()
        && condition.span_name.as_ref().is_none_or(|name| match name {
            TextMatch::Exact(text) => span.name == *text,
            TextMatch::Prefix(text) => span.name.starts_with(text),
            TextMatch::Regex(text) => Regex::new(text).unwrap().is_match(&span.name),
        })
        && condition.kind.is_none_or(|kind| kind.number() == span.kind)
        && condition.status.is_none_or(|status| status.number() == code)
        && condition.shorter_than.is_none_or(|limit| u128::from(nanoseconds) < nanos(limit))
        && condition.at_least.is_none_or(|limit| u128::from(nanoseconds) >= nanos(limit))
        && condition.attributes.iter().all(|(key, value)| matches(&span.attributes, key, value))
        && condition.resource_attributes.iter().all(|(key, value)| matches(resource, key, value))
}
