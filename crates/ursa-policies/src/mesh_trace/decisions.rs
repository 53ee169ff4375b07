//! Which requests are traced in which shares. Each decision becomes a route before the one that all other requests take:
//! Envoy decides by the first route that matches, before anything else has happened to a request.

use ursa_envoy::proxy::{self, Decider, HeaderValue, PathMatch, RequestMatch, Sampling, Tracer};
use ursa_model::percent::Percent;

use super::schema::{self, PathMatchType, Rule};
use crate::header::HeaderMatch;

/// Paths that are asked for by probes and scrapers: Kubernetes' own names for them, and Prometheus'.
const PROBED_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/metrics"];
/// gRPC's health service.
const GRPC_HEALTH: &str = "/grpc.health.v1.Health";
/// How the kubelet begins to say who it is.
const KUBELET: &str = "kube-probe/";
/// A `b3` that says so, with ids or without.
const SAMPLED_B3: &str = "(?:[^-]+-[^-]+-)?[1d](?:-[^-]+)?";
/// An `x-b3-sampled` that says so.
const SAMPLED_B3_MULTI: &str = "1|true";
/// A `traceparent` whose flags say that the caller's span is recorded: the lowest bit of a hexadecimal number.
const SAMPLED: &str = ".*-[0-9a-f][13579bdf]";

/// The shares of all requests that no decision is about.
pub(super) fn rest(sampling: &schema::Sampling) -> Sampling {
    let fallback = if is_parent_based(sampling) {
        sampling.parent.as_ref().and_then(|parent| parent.fallback)
    } else {
        None
    };
    Sampling {
        overall: sampling.overall.unwrap_or(Percent::HUNDRED),
        client: sampling.client.unwrap_or(Percent::HUNDRED),
        random: fallback.or(sampling.random).unwrap_or(Percent::HUNDRED),
    }
}

/// A decision about some requests, before the shares of the rest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    /// Which.
    pub(super) requests: RequestMatch,
    /// The shares of these.
    pub(super) shares: Sampling,
    /// What says so.
    pub(super) by: Decider,
}

/// The decisions, the first that matches counts.
pub(super) fn decisions(sampling: &schema::Sampling, tracer: Tracer) -> Vec<Decision> {
    let rest = rest(sampling);
    let mut decisions = Vec::new();
    let parents = |requests: &RequestMatch| {
        let of_callers = of_traced_callers(requests, tracer).into_iter();
        of_callers.map(|requests| Decision { requests, shares: Sampling::ALL, by: Decider::Parent })
    };
    let mut decide = |requests: RequestMatch, shares: Sampling, by: Decider| {
        // A caller's decision not to trace is kept by the tracer itself.
        if is_parent_based(sampling) && shares != Sampling::NONE && shares != Sampling::ALL {
            decisions.extend(parents(&requests));
        }
        decisions.push(Decision { requests, shares, by });
    };
    let rules = sampling.rules.iter().flatten().enumerate();
    for (index, Rule { r#match, random, overall, off }) in rules {
        let shares = match off {
            Some(true) => Sampling::NONE,
            _ => Sampling {
                random: random.unwrap_or(rest.random),
                overall: overall.unwrap_or(rest.overall),
                client: rest.client,
            },
        };
        decide(requests(r#match), shares, Decider::Rule(index));
    }
    if !sampling.trace_probes.unwrap_or(false) {
        for requests in probes() {
            decide(requests, Sampling::NONE, Decider::Probe);
        }
    }
    if is_parent_based(sampling) && rest != Sampling::ALL {
        decisions.extend(parents(&RequestMatch::default()));
    }
    decisions
}

pub(super) fn is_parent_based(sampling: &schema::Sampling) -> bool {
    sampling.parent.as_ref().is_some_and(|parent| parent.enabled.unwrap_or(false))
}

/// Of these requests those whose caller is traced, by the headers in which the tracer finds that: each request in one of
/// them at most.
fn of_traced_callers(requests: &RequestMatch, tracer: Tracer) -> Vec<RequestMatch> {
    use HeaderValue::Absent;
    let says = |regex: &str| HeaderValue::Regex(regex.to_owned());
    let traceparent = ("traceparent", says(SAMPLED));
    let headers = match tracer {
        Tracer::OpenTelemetry => vec![vec![traceparent]],
        Tracer::Zipkin { w3c, .. } => {
            let (sampled, debug) = ("x-b3-sampled", ("x-b3-flags", says("1")));
            let mut headers = vec![
                vec![("b3", says(SAMPLED_B3))],
                vec![("b3", Absent), (sampled, says(SAMPLED_B3_MULTI))],
                vec![("b3", Absent), (sampled, Absent), debug],
            ];
            let no_b3 = [("b3", Absent), ("x-b3-traceid", Absent)];
            headers.extend(w3c.then(|| no_b3.into_iter().chain([traceparent]).collect()));
            headers
        }
    };
    let with = |headers: Vec<(&str, HeaderValue)>| {
        let mut requests = requests.clone();
        let header = |(name, value): (&str, _)| proxy::HeaderMatch { name: name.to_owned(), value };
        requests.headers.extend(headers.into_iter().map(header));
        requests
    };
    headers.into_iter().map(with).collect()
}

fn probes() -> impl Iterator<Item = RequestMatch> {
    let kubelet = proxy::HeaderMatch {
        name: "user-agent".to_owned(),
        value: HeaderValue::Prefix(KUBELET.to_owned()),
    };
    let path = |path| RequestMatch { path, ..RequestMatch::default() };
    PROBED_PATHS
        .map(|exact| path(PathMatch::Exact(exact.to_owned())))
        .into_iter()
        .chain([path(PathMatch::Segments(GRPC_HEALTH.to_owned()))])
        .chain([RequestMatch { headers: vec![kubelet], ..RequestMatch::default() }])
}

fn requests(requests: &schema::RequestMatch) -> RequestMatch {
    let path = requests.path.as_ref().map(|schema::PathMatch { kind, value }| {
        let value = value.clone();
        match kind {
            PathMatchType::Exact => PathMatch::Exact(value),
            PathMatchType::PathPrefix => PathMatch::Segments(value),
            PathMatchType::RegularExpression => PathMatch::Regex(value),
        }
    });
    RequestMatch {
        path: path.unwrap_or_default(),
        method: requests.method.clone(),
        headers: requests.headers.iter().flatten().map(HeaderMatch::of_proxy).collect(),
        query: Vec::new(),
    }
}
