//! What is written on spans besides what the tracer writes: by Envoy what is a request's, by the agent all else.

use std::collections::BTreeSet;

use ursa_envoy::proxy::{ProxyConfig, Tag, TagSource};
use ursa_model::dataplane::WORKLOAD_LABEL;
use ursa_model::pipeline::processor::{BaggageAttributes, BaggageMember, EnvoyTags};

use super::schema::{self, Conf, Lookup};

/// The tag in which the header `baggage` travels from Envoy to the agent.
pub(super) const BAGGAGE: &str = "ursa.baggage";

/// What Envoy writes: tags from headers, and the header that the agent reads.
pub(super) fn of_envoy(conf: &Conf) -> Vec<Tag> {
    let from_headers = unique(conf).into_iter().filter_map(|tag| {
        let header = tag.header.as_ref()?;
        let source = TagSource::Header { name: header.name.clone(), default: default(header) };
        Some(Tag { name: tag.name.clone(), source })
    });
    let header = TagSource::Header { name: "baggage".to_owned(), default: None };
    let baggage = Tag { name: BAGGAGE.to_owned(), source: header };
    from_headers.chain(from_baggage(conf).is_some().then_some(baggage)).collect()
}

/// What all spans say: the user's literals, and where the proxy is unless the user says so. The agent writes it, since
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

/// What the agent reads out of the header, which it takes off again.
pub(super) fn from_baggage(conf: &Conf) -> Option<BaggageAttributes> {
    let member = |tag: &schema::Tag| {
        let baggage = tag.baggage.as_ref()?;
        let (attribute, member) = (tag.name.clone(), baggage.name.clone());
        Some(BaggageMember { attribute, member, default: default(baggage) })
    };
    let members: Vec<_> = unique(conf).into_iter().filter_map(member).collect();
    (!members.is_empty()).then(|| BaggageAttributes { from: BAGGAGE.to_owned(), members })
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
