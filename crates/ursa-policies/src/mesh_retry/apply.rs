//! What a MeshRetry does to a proxy.

use std::collections::BTreeMap;

use ursa_envoy::proxy::{
    self, Direction, HeaderMatch, HeaderValue, ListenerKind, ProxyConfig, Retry, Route,
};
use ursa_model::dataplane::Protocol;
use ursa_model::duration::Duration;

use super::conditions::{
    GRPC, GRPC_UNLESS_SAID, HTTP, HTTP_UNLESS_SAID, METHODS, of_envoy, status,
};
use super::schema::{
    BackOff, Conf, Grpc, GrpcCondition, Http, HttpCondition, Predicate, PredicateType,
    RateLimitedBackOff, ResetFormat,
};
use super::validate::BASE_INTERVAL;
use crate::backends::Applied;
use crate::header;
use crate::kind::Merged;
use crate::traffic;

/// How often a request is tried again where nobody says otherwise.
const ATTEMPTS: u32 = 1;
/// After how many tries priorities are looked at anew where nobody says otherwise.
const UPDATE_FREQUENCY: u32 = 2;

pub(super) fn conf(merged: &Merged<'_, Conf>, proxy: &mut ProxyConfig, applied: &mut Applied) {
    let traffic = traffic::settings(merged, proxy, applied);
    let protocols: BTreeMap<_, _> =
        proxy.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.protocol)).collect();
    let mut tag_sets = Vec::new();
    for (listener, conf) in proxy.listeners.iter_mut().zip(traffic.listeners) {
        let Some(conf) = conf.filter(|_| listener.direction == Direction::Outbound) else {
            continue;
        };
        match &mut listener.kind {
            ListenerKind::Tcp(tcp) => {
                tcp.max_connect_attempts = conf.tcp.map(|tcp| tcp.max_connect_attempt);
            }
            ListenerKind::Http(http) => {
                for route in &mut http.routes.routes {
                    route.retry = retry(&conf, is_grpc(route, &protocols));
                    let omitted = route.retry.iter().flat_map(|retry| &retry.omit_tags);
                    for tags in omitted {
                        let clusters = route.clusters().map(|name| (name.to_owned(), tags.clone()));
                        tag_sets.extend(clusters);
                    }
                }
            }
        }
    }
    for (name, tags) in tag_sets {
        if let Some(cluster) = proxy.clusters.iter_mut().find(|cluster| cluster.name == name) {
            cluster.tag_sets.insert(tags);
        }
    }
}

/// Whether requests of the route are calls of gRPC, wherever they go.
fn is_grpc(route: &Route, protocols: &BTreeMap<String, Protocol>) -> bool {
    let mut clusters = route.clusters().peekable();
    clusters.peek().is_some() && clusters.all(|name| protocols.get(name) == Some(&Protocol::Grpc))
}

fn retry(conf: &Conf, grpc: bool) -> Option<Retry> {
    let retry =
        if grpc { conf.grpc.as_ref().map(of_grpc) } else { conf.http.as_ref().map(of_http) };
    retry.filter(|retry| retry.attempts > 0)
}

fn of_grpc(grpc: &Grpc) -> Retry {
    let written = grpc.retry_on.iter().flatten();
    let on = named(written.filter_map(|GrpcCondition(written)| of_envoy(&GRPC, written)));
    Retry {
        on: words(if on.is_empty() { &GRPC_UNLESS_SAID } else { &on }),
        statuses: Vec::new(),
        attempts: grpc.num_retries.unwrap_or(ATTEMPTS),
        per_try_timeout: per_try(grpc.per_try_timeout),
        back_off: grpc.back_off.map(back_off),
        rate_limited: grpc.rate_limited_back_off.as_ref().map(rate_limited),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        omit_previous_hosts: false,
        omit_tags: Vec::new(),
        omit_previous_priorities: None,
        host_selection_attempts: None,
    }
}

fn of_http(http: &Http) -> Retry {
    let written = || http.retry_on.iter().flatten().map(|HttpCondition(written)| written);
    let conditions = named(written().filter_map(|written| of_envoy(&HTTP, written)));
    let mut on = words(if conditions.is_empty() { &HTTP_UNLESS_SAID } else { &conditions });
    let statuses = named(written().filter_map(|written| status(written)));
    if !statuses.is_empty() {
        on.push("retriable-status-codes".to_owned());
    }
    let response_headers: Vec<_> = http
        .retriable_response_headers
        .iter()
        .flatten()
        .map(header::HeaderMatch::of_proxy)
        .collect();
    if !response_headers.is_empty() {
        on.push("retriable-headers".to_owned());
    }
    let methods = named(written().filter_map(|written| of_envoy(&METHODS, written)));
    let methods = methods.into_iter().map(|method| HeaderMatch {
        name: ":method".to_owned(),
        value: HeaderValue::Exact(method.to_owned()),
    });
    let request_headers =
        http.retriable_request_headers.iter().flatten().map(header::HeaderMatch::of_proxy);
    let predicates = http.host_selection.as_deref().unwrap_or_default();
    let of_type = |wanted: PredicateType| {
        predicates.iter().filter(move |predicate| predicate.predicate == wanted)
    };
    Retry {
        on,
        statuses,
        attempts: http.num_retries.unwrap_or(ATTEMPTS),
        per_try_timeout: per_try(http.per_try_timeout),
        back_off: http.back_off.map(back_off),
        rate_limited: http.rate_limited_back_off.as_ref().map(rate_limited),
        request_headers: methods.chain(request_headers).collect(),
        response_headers,
        omit_previous_hosts: of_type(PredicateType::OmitPreviousHosts).next().is_some(),
        omit_tags: of_type(PredicateType::OmitHostsWithTags)
            .filter_map(|predicate| predicate.tags.clone())
            .collect(),
        omit_previous_priorities: of_type(PredicateType::OmitPreviousPriorities)
            .map(|Predicate { update_frequency, .. }| update_frequency.unwrap_or(UPDATE_FREQUENCY))
            .next(),
        host_selection_attempts: http.host_selection_max_attempts.map(i64::from),
    }
}

/// Each once; two spellings of a condition are one.
fn named<T: PartialEq>(conditions: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for condition in conditions {
        if !once.contains(&condition) {
            once.push(condition);
        }
    }
    once
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn per_try(timeout: Option<Duration>) -> Option<std::time::Duration> {
    timeout.map(Duration::get).filter(|timeout| !timeout.is_zero())
}

/// Layers that are right one by one need not be together: Envoy refuses a maximum below the base.
fn back_off(BackOff { base_interval, max_interval }: BackOff) -> proxy::BackOff {
    let base = base_interval.unwrap_or(BASE_INTERVAL).get();
    proxy::BackOff { base, max: max_interval.map(|max| max.get().max(base)) }
}

fn rate_limited(limited: &RateLimitedBackOff) -> proxy::RateLimitedBackOff {
    let headers = limited.reset_headers.iter().map(|header| proxy::ResetHeader {
        name: header.name.clone(),
        is_timestamp: header.format == ResetFormat::UnixTimestamp,
    });
    proxy::RateLimitedBackOff {
        headers: headers.collect(),
        max: limited.max_interval.map(Duration::get),
    }
}
