//! What is refused in a MeshTrace, and which of its settings do nothing yet.

use std::collections::BTreeSet;

use ursa_model::backend;
use ursa_model::mesh_trace_backend::MeshTraceBackend;
use ursa_model::percent::Percent;
use ursa_model::pipeline::processor;
use ursa_model::report::Cursor;
use ursa_model::target_ref::TargetRef;
use ursa_model::tree::Node;
use ursa_propagation::Format;

use super::schema::{Backend, BaggageRules, Conf, Propagator, Rule, Sampling, Tag};
use super::{baggage, in_metrics};
use crate::header::{HeaderMatchType, is_header, is_token};

/// Settings that belong to a listener or to the agent, so that a route cannot have its own.
const NOT_OF_ROUTES: [&str; 7] = [
    "propagators",
    "stripUnlisted",
    "baggage",
    "resourceAttributes",
    "additionalBackends",
    "spanName",
    "semanticConventions",
];

/// The node and the cursor are `spec.default`'s.
pub(super) fn conf(settings: &Node, target: &TargetRef, report: &Cursor<'_>) {
    let Some(conf) = report.decode::<Conf>(settings) else { return };
    if target.is_route() {
        for field in NOT_OF_ROUTES.into_iter().filter(|field| settings.get(field).is_some()) {
            report.at(field).refuse_with_hint(
                "a route has `sampling` and `tags` of its own; all else is its proxy's",
                "set it in a MeshTrace for the proxy",
            );
        }
    }
    backends(&conf, target, report);
    sampling(&conf.sampling, &report.at("sampling"));
    propagators(conf.propagators.as_deref(), &report.at("propagators"));
    stripped_baggage(&conf, report);
    baggage::validate(&conf.baggage, &report.at("baggage"));
    backend::validate_attributes(&conf.resource_attributes, &report.at("resourceAttributes"));
    if let Some(name) = &conf.span_name {
        processor::SpanName::validate(name, &report.at("spanName"));
    }
    let written = conf.tags.as_deref().unwrap_or_default();
    tags(written, &report.at("tags"));
    in_metrics::validate(written, target, &report.at("tags"));
}

fn backends(conf: &Conf, target: &TargetRef, report: &Cursor<'_>) {
    let cursor = report.at("backends");
    if conf.backends.is_none() && !target.is_route() {
        cursor.refuse_with_hint(
            "is required",
            "name a backend, or switch tracing off with `backends: []`",
        );
    }
    for (index, backend) in conf.backends.iter().flatten().enumerate() {
        if index > 0 {
            cursor.index(index).refuse_with_hint(
                "a proxy has one tracer; keep one backend",
                "what else shall receive the spans goes into `additionalBackends`",
            );
        }
        validate_backend(backend, &cursor.index(index));
    }
    for (index, backend) in conf.additional_backends.iter().flatten().enumerate() {
        validate_backend(backend, &report.at("additionalBackends").index(index));
    }
}

fn validate_backend(backend: &Backend, cursor: &Cursor<'_>) {
    match &backend.reference {
        None => {
            backend.inline.validate(cursor);
        }
        Some(reference) => {
            reference.validate(&cursor.at("reference"));
            if backend.inline != MeshTraceBackend::default() {
                cursor.refuse_with_hint(
                    "`reference` stands alone; the backend it names says the rest",
                    "keep one of them",
                );
            }
        }
    }
}

fn sampling(sampling: &Sampling, cursor: &Cursor<'_>) {
    let shares =
        [("overall", sampling.overall), ("client", sampling.client), ("random", sampling.random)];
    for (field, share) in shares {
        if let Some(share) = share {
            precision(share, &cursor.at(field));
        }
    }
    cursor.at("adaptive").warn_if_without_effect();
    if let Some(parent) = &sampling.parent {
        if let Some(fallback) = parent.fallback {
            precision(fallback, &cursor.at("parent.fallback"));
        }
        if parent.fallback.is_some() && !parent.enabled.unwrap_or(false) {
            cursor.at("parent.fallback").warn("has no effect while `parent` is not `enabled`");
        }
    }
    if sampling.random.is_some()
        && sampling.parent.as_ref().is_some_and(|parent| parent.fallback.is_some())
    {
        cursor
            .at("parent.fallback")
            .refuse("`fallback` and `random` mean the same requests; keep one");
    }
    if sampling.adaptive.as_ref().is_some_and(|adaptive| adaptive.traces_per_second <= 0.0) {
        cursor
            .at("adaptive.tracesPerSecond")
            .refuse_with_hint("must be more than 0", "`overall: 0` traces nothing");
    }
    for (index, rule) in sampling.rules.iter().flatten().enumerate() {
        validate_rule(rule, &cursor.at("rules").index(index));
    }
}

/// Envoy tells ten thousand shares apart.
fn precision(share: Percent, cursor: &Cursor<'_>) {
    let sampled = Percent::from_millionths(share.ten_thousandths() * 100).unwrap_or(share);
    if sampled != share {
        cursor.warn(format!("Envoy samples in steps of 0.01 %; this becomes {sampled}"));
    }
}

fn validate_rule(rule: &Rule, cursor: &Cursor<'_>) {
    let set = [rule.random.is_some(), rule.overall.is_some(), rule.off == Some(true)];
    if set.into_iter().filter(|set| *set).count() != 1 {
        cursor.refuse("needs exactly one of `random`, `overall` and `off: true`");
    }
    for (field, share) in [("random", rule.random), ("overall", rule.overall)] {
        if let Some(share) = share {
            precision(share, &cursor.at(field));
        }
    }
    let matched = &rule.r#match;
    let headers = matched.headers.as_deref().unwrap_or_default();
    if matched.path.is_none() && matched.method.is_none() && headers.is_empty() {
        cursor.at("match").refuse("needs a `path`, a `method` or `headers`");
    }
    if let Some(path) = &matched.path {
        let cursor = cursor.at("match.path.value");
        if !path.is_written_out() {
            processor::validate_regex(&path.value, &cursor);
        } else if !path.value.starts_with('/') {
            cursor.refuse("must begin with `/`");
        } else if path.value.contains(['?', '#']) {
            cursor.refuse("is compared with the path alone, without its query");
        }
    }
    if matched.method.as_ref().is_some_and(|method| !is_token(method)) {
        cursor.at("match.method").refuse("is not a method");
    }
    for (index, header) in headers.iter().enumerate() {
        let cursor = cursor.at("match.headers").index(index);
        if !is_token(&header.name) {
            cursor.at("name").refuse("is not the name of a header");
        }
        if header.needs_value() && header.value.is_none() {
            cursor.refuse_with_hint(
                "needs a `value`",
                "`type: Present` asks only whether the header is there",
            );
        }
        if let (Some(HeaderMatchType::RegularExpression), Some(regex)) =
            (header.kind, &header.value)
        {
            processor::validate_regex(regex, &cursor.at("value"));
        }
    }
}

fn propagators(propagators: Option<&[Propagator]>, cursor: &Cursor<'_>) {
    let Some(propagators) = propagators else { return };
    let mut seen = BTreeSet::new();
    for (index, name) in written(cursor).enumerate() {
        if !seen.insert(name) {
            cursor.index(index).refuse("is listed twice");
        }
    }
    if propagators.iter().all(|propagator| *propagator == Propagator::W3cBaggage) {
        cursor.warn("no trace goes on: callers' context is not read, and none is written");
    }
}

/// The names in a list as they are written: for one that is unknown another stands in the settings.
fn written<'r>(list: &Cursor<'r>) -> impl Iterator<Item = Option<&'r str>> + use<'r> {
    list.node().and_then(Node::as_list).into_iter().flatten().map(Node::as_str)
}

/// `stripUnlisted` takes off baggage that is not listed, which nothing then can set or read.
fn stripped_baggage(conf: &Conf, report: &Cursor<'_>) {
    let is_known =
        |name: Option<&str>| name.is_some_and(|it| Format::from_name(it.as_bytes()).is_some());
    if !written(&report.at("propagators")).all(is_known) {
        return; // who knows what is meant
    }
    let is_listed = |list: &Vec<Propagator>| list.contains(&Propagator::W3cBaggage);
    let is_stripped =
        conf.strip_unlisted == Some(true) && !conf.propagators.as_ref().is_none_or(is_listed);
    let is_used = conf.baggage != BaggageRules::default()
        || conf.tags.iter().flatten().any(|tag| tag.baggage.is_some());
    if is_stripped && is_used {
        report.at("stripUnlisted").warn(
            "removes `baggage`, which `propagators` does not list: rules and tags have none to look at",
        );
    }
}

fn tags(tags: &[Tag], cursor: &Cursor<'_>) {
    let mut names = BTreeSet::new();
    for (index, tag) in tags.iter().enumerate() {
        let cursor = cursor.index(index);
        if tag.name.is_empty() {
            cursor.at("name").refuse("must not be empty");
        } else if !names.insert(&tag.name) {
            cursor
                .at("name")
                .warn(format!("`{}` has its value from a tag before this one", tag.name));
        }
        let sources = [tag.literal.is_some(), tag.header.is_some(), tag.baggage.is_some()];
        if sources.iter().filter(|set| **set).count() != 1 {
            cursor.refuse("needs exactly one of `literal`, `header` and `baggage`");
        }
        if tag.literal.as_ref().is_some_and(String::is_empty) {
            cursor.at("literal").refuse("must not be empty");
        }
        if tag.header.as_ref().is_some_and(|header| !is_header(&header.name)) {
            cursor.at("header.name").refuse("is not the name of a header");
        }
        if tag.baggage.as_ref().is_some_and(|baggage| !is_token(&baggage.name)) {
            cursor.at("baggage.name").refuse("is not a key of baggage");
        }
    }
}
