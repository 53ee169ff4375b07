//! What is refused in a MeshRetry.

use ursa_model::duration::Duration;
use ursa_model::report::Cursor;
use ursa_model::tree::Node;

use super::conditions::{GRPC, HTTP, METHODS, of_envoy, status};
use super::schema::{
    BackOff, Conf, GrpcCondition, HttpCondition, Predicate, PredicateType, RateLimitedBackOff,
};
use crate::header::{HeaderMatch, is_header, is_token};
use crate::limits::{is_given, more_than_zero};

/// How long Envoy waits at first where nobody says otherwise.
pub(super) const BASE_INTERVAL: Duration = Duration(std::time::Duration::from_millis(25));
/// The fields of `http`, of which one at least is set.
const OF_HTTP: [&str; 9] = [
    "numRetries",
    "perTryTimeout",
    "backOff",
    "rateLimitedBackOff",
    "retryOn",
    "retriableResponseHeaders",
    "retriableRequestHeaders",
    "hostSelection",
    "hostSelectionMaxAttempts",
];
/// The same of `grpc`.
const OF_GRPC: [&str; 5] =
    ["numRetries", "perTryTimeout", "backOff", "rateLimitedBackOff", "retryOn"];

/// The node and the cursor are those of the `default` of an item.
pub(super) fn conf(settings: &Node, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    if !["tcp", "http", "grpc"].iter().any(|field| is_given(settings, field)) {
        report.refuse("needs one of `tcp`, `http` and `grpc` at least");
        return;
    }
    let sets_nothing = |field: &str, fields: &[&str]| {
        let node = settings.get(field).filter(|node| !node.is_null());
        if node.is_some_and(|node| !fields.iter().any(|field| is_given(node, field))) {
            report.at(field).refuse("must say something");
        }
    };
    sets_nothing("http", &OF_HTTP);
    sets_nothing("grpc", &OF_GRPC);
    if let Some(http) = &conf.http {
        let cursor = report.at("http");
        back_offs(http.back_off, http.rate_limited_back_off.as_ref(), &cursor);
        for (index, HttpCondition(written)) in http.retry_on.iter().flatten().enumerate() {
            if [of_envoy(&HTTP, written), of_envoy(&METHODS, written)] == [None, None]
                && status(written).is_none()
            {
                let words = HTTP.iter().chain(&METHODS).map(|(name, _)| *name);
                unknown(written, words, "statuses like `503`", &cursor.at("retryOn").index(index));
            }
        }
        headers(http.retriable_request_headers.as_deref(), &cursor.at("retriableRequestHeaders"));
        headers(http.retriable_response_headers.as_deref(), &cursor.at("retriableResponseHeaders"));
        predicates(http.host_selection.as_deref().unwrap_or_default(), &cursor.at("hostSelection"));
    }
    if let Some(grpc) = &conf.grpc {
        let cursor = report.at("grpc");
        back_offs(grpc.back_off, grpc.rate_limited_back_off.as_ref(), &cursor);
        for (index, GrpcCondition(written)) in grpc.retry_on.iter().flatten().enumerate() {
            if of_envoy(&GRPC, written).is_none() {
                let words = GRPC.iter().map(|(name, _)| *name);
                unknown(written, words, "nothing else", &cursor.at("retryOn").index(index));
            }
        }
    }
}

fn unknown(
    written: &str,
    words: impl Iterator<Item = &'static str>,
    and: &str,
    cursor: &Cursor<'_>,
) {
    let words: Vec<_> = words.collect();
    cursor.refuse_with_hint(
        format!("`{written}` is nothing that is tried again"),
        format!("there are {}, and {and}", words.join(", ")),
    );
}

fn back_offs(back_off: Option<BackOff>, limited: Option<&RateLimitedBackOff>, cursor: &Cursor<'_>) {
    if let Some(BackOff { base_interval, max_interval }) = back_off {
        let cursor = cursor.at("backOff");
        if base_interval.is_none() && max_interval.is_none() {
            cursor.refuse("needs `baseInterval`, `maxInterval`, or both");
        }
        let fields = [("baseInterval", base_interval), ("maxInterval", max_interval)];
        more_than_zero(&fields, &cursor);
        if let Some(max) = max_interval
            && max < base_interval.unwrap_or(BASE_INTERVAL)
        {
            let base = base_interval.unwrap_or(BASE_INTERVAL);
            cursor.at("maxInterval").refuse(format!("is below `baseInterval`, which is {base}"));
        }
    }
    if let Some(RateLimitedBackOff { reset_headers, max_interval }) = limited {
        let cursor = cursor.at("rateLimitedBackOff");
        more_than_zero(&[("maxInterval", *max_interval)], &cursor);
        for (index, header) in reset_headers.iter().enumerate() {
            if !is_token(&header.name) {
                let cursor = cursor.at("resetHeaders").index(index);
                cursor.at("name").refuse("is not the name of a header");
            }
        }
    }
}

fn headers(headers: Option<&[HeaderMatch]>, cursor: &Cursor<'_>) {
    for (index, header) in headers.unwrap_or_default().iter().enumerate() {
        let cursor = cursor.index(index);
        if !is_header(&header.name) {
            cursor.at("name").refuse("is not the name of a header");
        }
        if header.needs_value() && header.value.as_ref().is_none_or(String::is_empty) {
            cursor.refuse_with_hint(
                "needs a `value`",
                "`type: Present` asks only whether the header is there",
            );
        }
    }
}

fn predicates(predicates: &[Predicate], cursor: &Cursor<'_>) {
    use PredicateType::{OmitHostsWithTags, OmitPreviousPriorities};
    for (index, predicate) in predicates.iter().enumerate() {
        let cursor = cursor.index(index);
        let tags = predicate.tags.as_ref().is_some_and(|tags| !tags.is_empty());
        if predicate.predicate == OmitHostsWithTags && !tags {
            cursor.at("tags").refuse("is required with OmitHostsWithTags");
        }
        if predicate.predicate == OmitPreviousPriorities
            && predicates.iter().take(index).any(|it| it.predicate == OmitPreviousPriorities)
        {
            cursor.at("predicate").refuse("stands there already; there can be one");
        }
        if predicate.tags.is_some() && predicate.predicate != OmitHostsWithTags {
            cursor.at("tags").warn("has no effect but with OmitHostsWithTags");
        }
        if predicate.update_frequency.is_some() && predicate.predicate != OmitPreviousPriorities {
            cursor.at("updateFrequency").warn("has no effect but with OmitPreviousPriorities");
        }
    }
}
