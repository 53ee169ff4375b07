//! What is refused in a MeshHTTPRoute, and which of its settings do nothing yet.

use std::collections::BTreeSet;

use ursa_model::names;
use ursa_model::pipeline::processor;
use ursa_model::report::Cursor;
use ursa_model::target_ref::{TargetKind, TargetRef};
use ursa_model::tree::Node;

use super::schema::{
    BackendKind, BackendRef, Filter, FilterType, Header, HeaderModifier, Match, PathMatch,
    PathMatchType, PathRewrite, PathRewriteType, QueryMatchType, Routing, Rule,
};
use crate::header::{HeaderMatchType, is_token};
use crate::part::{Destination, DestinationKind};

/// Statuses of redirects.
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
/// The longest name of a host.
const MAX_HOST: usize = 253;

/// The node and the cursor are those of `spec`.
pub(super) fn spec(spec: &Node, target: &TargetRef, report: &Cursor<'_>) {
    let of_gateway = target.kind == TargetKind::MeshGateway;
    let to = spec.get("to").and_then(Node::as_list).unwrap_or_default();
    for (index, to) in to.iter().enumerate() {
        let report = report.key("to").index(index);
        destination(to, of_gateway, &report.key("targetRef"));
        if to.get("hostnames").is_some() && !of_gateway {
            report
                .key("hostnames")
                .refuse("is of gateways alone: requests to a service have one host");
        }
        let rules = to.get("rules").and_then(Node::as_list).unwrap_or_default();
        for (index, rule) in rules.iter().enumerate() {
            let report = report.key("rules").index(index);
            let Some(rule) = report.decode::<Rule>(rule) else { continue };
            if rule.matches.is_empty() {
                report.key("matches").refuse_with_hint("must not be empty", "`- {}` takes all");
            }
            for (index, matched) in rule.matches.iter().enumerate() {
                requests(matched, &report.key("matches").index(index));
            }
            for (index, filter) in rule.default.filters.iter().flatten().enumerate() {
                let report = report.at("default.filters").index(index);
                prefixes(&rule, filter, &report);
                if !of_gateway && rewrites_to_endpoint(filter) {
                    report
                        .at("urlRewrite.hostToBackendHostname")
                        .refuse("is of gateways alone: set `hostname`");
                }
            }
        }
    }
}

fn rewrites_to_endpoint(filter: &Filter) -> bool {
    let rewrite = filter.url_rewrite.as_ref();
    rewrite.and_then(|rewrite| rewrite.host_to_backend_hostname).unwrap_or(false)
}

fn destination(to: &Node, of_gateway: bool, report: &Cursor<'_>) {
    let Some(node) = to.get("targetRef") else { return };
    let Some(destination) = report.decode::<Destination>(node) else { return };
    match (destination.kind, of_gateway) {
        (DestinationKind::MeshHttpRoute, _) => {
            report.key("kind").refuse("a route has services for destinations");
        }
        (DestinationKind::Mesh, false) => report.key("kind").refuse_with_hint(
            "Mesh is the destination of a gateway's requests alone",
            "name the service: `kind: MeshService`",
        ),
        (kind, true) if kind != DestinationKind::Mesh => {
            report.key("kind").refuse("the destination of a gateway's requests is `Mesh`");
        }
        _ => destination.validate(report),
    }
}

fn requests(matched: &Match, report: &Cursor<'_>) {
    if let Some(path) = &matched.path {
        validate_path(path, &report.at("path.value"));
    }
    let mut names = BTreeSet::new();
    for (index, parameter) in matched.query_params.iter().flatten().enumerate() {
        let report = report.key("queryParams").index(index);
        if !names.insert(&parameter.name) {
            report.key("name").refuse(format!("`{}` is asked for twice", parameter.name));
        }
        if let QueryMatchType::RegularExpression = parameter.kind {
            processor::validate_regex(&parameter.value, &report.key("value"));
        }
    }
    for (index, header) in matched.headers.iter().flatten().enumerate() {
        let report = report.key("headers").index(index);
        if !is_token(&header.name) {
            report.key("name").refuse("is not the name of a header");
        }
        match (&header.value, header.needs_value()) {
            (None, true) => report.refuse_with_hint(
                "needs a `value`",
                "`type: Present` asks only whether the header is there",
            ),
            (Some(value), false) if !value.is_empty() => {
                report.key("value").refuse("is compared with nothing; leave it out");
            }
            _ => {}
        }
        if let (Some(HeaderMatchType::RegularExpression), Some(regex)) =
            (header.kind, &header.value)
        {
            processor::validate_regex(regex, &report.key("value"));
        }
    }
}

fn validate_path(PathMatch { kind, value }: &PathMatch, report: &Cursor<'_>) {
    if *kind == PathMatchType::RegularExpression {
        processor::validate_regex(value, report);
    } else if !value.starts_with('/') {
        report.refuse("must begin with `/`");
    } else if value.contains(['?', '#']) {
        report.refuse_with_hint(
            "is compared with the path alone, without its query",
            "ask for parameters of the query by `queryParams`",
        );
    } else if *kind == PathMatchType::PathPrefix && value != "/" && value.ends_with('/') {
        report.refuse_with_hint(
            "needs no `/` at its end: only whole segments are compared",
            "leave it out",
        );
    }
}

/// A prefix can be replaced only where one is asked for.
fn prefixes(rule: &Rule, filter: &Filter, report: &Cursor<'_>) {
    let redirect = filter.request_redirect.as_ref().and_then(|it| it.path.as_ref());
    let rewrite = filter.url_rewrite.as_ref().and_then(|it| it.path.as_ref());
    let is_prefix = |matched: &Match| {
        matched.path.as_ref().is_none_or(|path| path.kind == PathMatchType::PathPrefix)
    };
    for (field, path) in [("requestRedirect", redirect), ("urlRewrite", rewrite)] {
        let replaces = path.is_some_and(|path| path.replace_prefix_match.is_some());
        if replaces && !rule.matches.iter().all(is_prefix) {
            report
                .key(field)
                .at("path.replacePrefixMatch")
                .refuse("can only be where all `matches` ask for a prefix of the path");
        }
    }
}

/// The node and the cursor are those of the `default` of a rule.
pub(super) fn routing(settings: &Node, report: &Cursor<'_>) {
    let Some(routing) = report.decode::<Routing>(settings) else { return };
    let filters = routing.filters.as_deref().unwrap_or_default();
    for (index, filter) in filters.iter().enumerate() {
        validate_filter(filter, &report.key("filters").index(index));
    }
    for (index, backend) in routing.backend_refs.iter().flatten().enumerate() {
        validate_backend(backend, &report.key("backendRefs").index(index));
    }
    if filters.iter().any(|filter| filter.request_redirect.is_some()) {
        if routing.backend_refs.is_some() {
            report.key("backendRefs").warn("has no effect: `requestRedirect` sends nothing there");
        }
        for (index, filter) in filters.iter().enumerate() {
            if filter.request_redirect.is_none() {
                report
                    .key("filters")
                    .index(index)
                    .warn("has no effect beside `requestRedirect`, which answers at once");
            }
        }
    }
}

fn validate_filter(filter: &Filter, report: &Cursor<'_>) {
    let forms = [
        (FilterType::RequestHeaderModifier, filter.request_header_modifier.is_some()),
        (FilterType::ResponseHeaderModifier, filter.response_header_modifier.is_some()),
        (FilterType::RequestRedirect, filter.request_redirect.is_some()),
        (FilterType::UrlRewrite, filter.url_rewrite.is_some()),
        (FilterType::RequestMirror, filter.request_mirror.is_some()),
    ];
    let set: Vec<_> = forms.into_iter().filter(|(_, set)| *set).map(|(kind, _)| kind).collect();
    match (set.as_slice(), filter.kind) {
        ([one], Some(said)) if *one != said => {
            report.key("type").refuse("says another kind of filter than is set");
        }
        ([_], _) => {}
        ([], Some(_)) => report.refuse("is empty: what its `type` says is missing"),
        _ => report.refuse(
            "needs exactly one of `requestHeaderModifier`, `responseHeaderModifier`, `requestRedirect`, `urlRewrite` and `requestMirror`",
        ),
    }
    if let Some(modifier) = &filter.request_header_modifier {
        headers(modifier, &report.key("requestHeaderModifier"));
    }
    if let Some(modifier) = &filter.response_header_modifier {
        headers(modifier, &report.key("responseHeaderModifier"));
    }
    if let Some(redirect) = &filter.request_redirect {
        let report = report.key("requestRedirect");
        host(redirect.hostname.as_deref(), &report.key("hostname"));
        rewrite(redirect.path.as_ref(), &report.key("path"));
        if redirect.status_code.is_some_and(|status| !REDIRECTS.contains(&status)) {
            report.key("statusCode").refuse("must be 301, 302, 303, 307 or 308");
        }
    }
    if let Some(url) = &filter.url_rewrite {
        let report = report.key("urlRewrite");
        host(url.hostname.as_deref(), &report.key("hostname"));
        rewrite(url.path.as_ref(), &report.key("path"));
        if url.hostname.is_some() && url.host_to_backend_hostname == Some(true) {
            report
                .key("hostToBackendHostname")
                .refuse("`hostname` says another host; keep one of them");
        }
    }
    if let Some(mirror) = &filter.request_mirror {
        validate_backend(&mirror.backend_ref, &report.at("requestMirror.backendRef"));
    }
}

fn headers(modifier: &HeaderModifier, report: &Cursor<'_>) {
    let HeaderModifier { set, add, remove } = modifier;
    let none = |list: &Option<Vec<Header>>| list.as_ref().is_none_or(Vec::is_empty);
    if none(set) && none(add) && remove.as_ref().is_none_or(Vec::is_empty) {
        report.refuse("needs one of `set`, `add` and `remove` at least");
    }
    let mut names = BTreeSet::new();
    let mut name = |name: &str, report: &Cursor<'_>| {
        let lower = name.to_ascii_lowercase();
        if !is_token(name) {
            report.refuse("is not the name of a header");
        } else if lower == "host" {
            report.refuse_with_hint(
                "the host is no header that can be changed so",
                "use `urlRewrite` with a `hostname`",
            );
        } else if !names.insert(lower) {
            report.refuse("stands here twice; each header once");
        }
    };
    for (field, headers) in [("set", set), ("add", add)] {
        for (index, Header { name: own, value }) in headers.iter().flatten().enumerate() {
            let report = report.key(field).index(index);
            name(own, &report.key("name"));
            if value.chars().any(|c| c.is_control() && c != '\t') {
                report.key("value").refuse("has characters that no header can have");
            }
        }
    }
    for (index, own) in remove.iter().flatten().enumerate() {
        name(own, &report.key("remove").index(index));
    }
}

fn host(host: Option<&str>, report: &Cursor<'_>) {
    let Some(host) = host else { return };
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if names::is_ip(host) {
        report.refuse("must be a name, not an IP address");
    } else if host.len() > MAX_HOST || !host.split('.').all(is_label) {
        report.refuse("is not a DNS name in lower case");
    }
}

fn rewrite(path: Option<&PathRewrite>, report: &Cursor<'_>) {
    let Some(path) = path else { return };
    let PathRewrite { kind, replace_full_path: full, replace_prefix_match: prefix } = path;
    let set = match (full, prefix) {
        (Some(_), None) => Some(PathRewriteType::ReplaceFullPath),
        (None, Some(_)) => Some(PathRewriteType::ReplacePrefixMatch),
        _ => None,
    };
    match (set, kind) {
        (None, _) => {
            report.refuse("needs exactly one of `replaceFullPath` and `replacePrefixMatch`");
        }
        (Some(set), Some(said)) if set != *said => {
            report.key("type").refuse("says another kind of path than is set");
        }
        _ => {}
    }
    for (field, value, may_be_empty) in
        [("replaceFullPath", full, false), ("replacePrefixMatch", prefix, true)]
    {
        let Some(value) = value else { continue };
        let report = report.key(field);
        if !(value.starts_with('/') || value.is_empty() && may_be_empty) {
            report.refuse("must begin with `/`");
        } else if value.contains(['?', '#']) || value.chars().any(|c| c.is_control() || c == ' ') {
            report.refuse("is a path alone, without a query");
        }
    }
}

fn validate_backend(backend: &BackendRef, report: &Cursor<'_>) {
    let kind = backend.kind.name();
    if backend.name.is_none() && backend.labels.is_empty() {
        report.refuse(format!("kind {kind} needs a `name` or `labels`"));
    }
    if (backend.name.is_some() || backend.namespace.is_some()) && !backend.labels.is_empty() {
        report.key("labels").refuse("`labels` and `name` exclude each other; keep one");
    }
    if backend.name.as_ref().is_some_and(String::is_empty) {
        report.key("name").refuse("must not be empty");
    }
    if !backend.tags.is_empty() && backend.kind != BackendKind::MeshServiceSubset {
        report.key("tags").refuse_with_hint(
            format!("kind {kind} takes no `tags`"),
            "`kind: MeshServiceSubset` does",
        );
    }
    names::validate_tags(&backend.tags, &report.key("tags"));
    names::validate_labels(&backend.labels, &report.key("labels"));
    if !matches!(backend.kind, BackendKind::MeshService | BackendKind::MeshServiceSubset) {
        report.key("kind").warn(format!("{kind} means nothing yet: nothing is sent there"));
    } else if backend.name.is_none()
        || backend.namespace.is_some()
        || backend.section_name.is_some()
    {
        report.warn(
            "means nothing yet: only the service whose tag `kuma.io/service` is the `name` does, and its `port` by number",
        );
    }
}
