//! What is written on spans besides what the tracer writes: by Envoy what is a request's, by the agent all else.

use std::collections::{BTreeMap, BTreeSet};

use ursa_envoy::proxy::{PathMatch, ProxyConfig, Route, Tag, TagSource};
use ursa_model::dataplane::WORKLOAD_LABEL;
use ursa_model::pipeline::processor::{BaggageAttributes, BaggageMember, EnvoyTags};

use super::schema::{self, Conf, Lookup};

/// The tag in which the header `baggage` travels from Envoy to the agent.
pub(super) const BAGGAGE: &str = "ursa.baggage";
/// The name of the MeshHTTPRoute that took a request.
const ROUTE: &str = "kuma.route";
/// The path that it asks for. OpenTelemetry's name.
const PATH: &str = "http.route";

/// What Envoy writes: tags from headers, the header that the agent reads in the tag `baggage`, and literals that are not on all spans of the proxy.
pub(super) fn of_envoy(
    conf: &Conf,
    proxy: &ProxyConfig,
    all: &EnvoyTags,
    baggage: &str,
) -> Vec<Tag> {
    let from_headers = unique(conf).into_iter().filter_map(|tag| {
        let header = tag.header.as_ref()?;
        let source = TagSource::Header { name: header.name.clone(), default: default(header) };
        Some(Tag { name: tag.name.clone(), source })
    });
    let header = TagSource::Header { name: "baggage".to_owned(), default: None };
    let from_baggage = from_baggage(conf, baggage).map(|_| baggage.to_owned());
    let from_baggage = from_baggage.map(|name| Tag { name, source: header });
    let own = literals(conf, proxy).set.into_iter();
    let own = own.filter(|(name, value)| all.set.get(name) != Some(value));
    let own = own.map(|(name, value)| Tag { name, source: TagSource::Literal(value) });
    from_headers.chain(from_baggage).chain(own).collect()
}

/// What is on all spans of a proxy, whatever settings hold for the request.
pub(super) fn of_all<'c>(
    mut confs: impl Iterator<Item = &'c Conf>,
    proxy: &ProxyConfig,
) -> EnvoyTags {
    let none = || EnvoyTags { set: BTreeMap::new() };
    let mut all = confs.next().map_or_else(none, |conf| literals(conf, proxy));
    for conf in confs {
        let own = literals(conf, proxy);
        all.set.retain(|name, value| own.set.get(name) == Some(value));
    }
    all
}

/// Which MeshHTTPRoute took the request, and the path that it asks for, unless the user says so.
pub(super) fn of_route(route: &Route, tags: &mut Vec<Tag>) {
    let Some(origin) = &route.origin else { return };
    let path = match &route.requests.path {
        PathMatch::Prefix(_) => None,
        PathMatch::Segments(path) => Some(format!("{}/*", path.trim_end_matches('/'))),
        PathMatch::Exact(path) | PathMatch::Regex(path) => Some(path.clone()),
    };
    for (name, value) in [(ROUTE, Some(origin.clone())), (PATH, path)] {
        let Some(value) = value.filter(|_| tags.iter().all(|tag| tag.name != name)) else {
            continue;
        };
        tags.push(Tag { name: name.to_owned(), source: TagSource::Literal(value) });
    }
}

/// What spans say: the user's literals, and where the proxy is unless the user says so. The agent writes it, since
/// Envoy would on every span, at 4 % of a traced request each.
pub(super) fn literals(conf: &Conf, proxy: &ProxyConfig) -> EnvoyTags {
    let own = unique(conf);
    let fact = |name: &str| proxy.pipeline.facts.get(name).filter(|value| !value.is_empty());
    let standard = [
        ("kuma.mesh", Some(&proxy.id.mesh)),
        ("kuma.zone", fact("zone")),
        ("kuma.workload", fact(WORKLOAD_LABEL)),
    ];
    let standard = standard.into_iter().filter(|(name, _)| own.iter().all(|tag| tag.name != *name));
    let standard = standard.filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
    let literals = own.iter().filter_map(|tag| Some((tag.name.clone(), tag.literal.clone()?)));
    EnvoyTags { set: literals.chain(standard).collect() }
}

/// What the agent reads out of the header in the tag `from`, which it takes off again.
pub(super) fn from_baggage(conf: &Conf, from: &str) -> Option<BaggageAttributes> {
    let member = |tag: &schema::Tag| {
        let baggage = tag.baggage.as_ref()?;
        let (attribute, member) = (tag.name.clone(), baggage.name.clone());
        Some(BaggageMember { attribute, member, default: default(baggage) })
    };
    let members: Vec<_> = unique(conf).into_iter().filter_map(member).collect();
    (!members.is_empty()).then(|| BaggageAttributes { from: from.to_owned(), members })
}

/// The first tag of each name.
pub(super) fn unique(conf: &Conf) -> Vec<&schema::Tag> {
    let mut names = BTreeSet::new();
    conf.tags.iter().flatten().filter(|tag| names.insert(&tag.name)).collect()
}

/// An empty default is none.
pub(super) fn default(lookup: &Lookup) -> Option<String> {
    lookup.default.clone().filter(|default| !default.is_empty())
}
