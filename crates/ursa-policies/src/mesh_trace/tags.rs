//! What is written on spans besides what the tracer writes: by Envoy, or by the agent where Envoy cannot read it.

use std::collections::BTreeSet;

use ursa_envoy::proxy::{ProxyConfig, Tag, TagSource};
use ursa_model::pipeline::processor::{BaggageAttributes, BaggageMember};

use super::schema::{self, Conf, Lookup};

/// The tag in which the header `baggage` travels from Envoy to the agent.
const BAGGAGE: &str = "ursa.baggage";

/// What Envoy writes: the user's tags, where the proxy is unless the user says so, and the header that the agent reads.
pub(super) fn of_envoy(conf: &Conf, proxy: &ProxyConfig) -> Vec<Tag> {
    let unique = unique(conf);
    let own = unique.iter().filter_map(|tag| {
        let source = source(tag)?;
        Some(Tag { name: tag.name.clone(), source })
    });
    let fact = |name: &str, fact: &str| {
        let value = proxy.pipeline.facts.get(fact).filter(|value| !value.is_empty())?;
        Some(literal(name, value))
    };
    let standard = [
        Some(literal("kuma.mesh", &proxy.id.mesh)),
        fact("kuma.zone", "zone"),
        fact("kuma.workload", "kuma.io/workload"),
    ];
    let is_free = |tag: &Tag| unique.iter().all(|own| own.name != tag.name);
    let standard = standard.into_iter().flatten().filter(is_free);
    let header = TagSource::Header { name: "baggage".to_owned(), default: None };
    let baggage = Tag { name: BAGGAGE.to_owned(), source: header };
    own.chain(standard).chain(of_agent(conf).is_some().then_some(baggage)).collect()
}

/// What the agent writes; it takes the header off again.
pub(super) fn of_agent(conf: &Conf) -> Option<BaggageAttributes> {
    let member = |tag: &schema::Tag| {
        let baggage = tag.baggage.as_ref()?;
        let (attribute, member) = (tag.name.clone(), baggage.name.clone());
        Some(BaggageMember { attribute, member, default: default(baggage) })
    };
    let members: Vec<_> = unique(conf).into_iter().filter_map(member).collect();
    (!members.is_empty()).then(|| BaggageAttributes { from: BAGGAGE.to_owned(), members })
}

/// The first tag of each name.
fn unique(conf: &Conf) -> Vec<&schema::Tag> {
    let mut names = BTreeSet::new();
    conf.tags.iter().flatten().filter(|tag| names.insert(&tag.name)).collect()
}

/// `None` for what Envoy cannot read by itself.
fn source(tag: &schema::Tag) -> Option<TagSource> {
    if let Some(literal) = &tag.literal {
        return Some(TagSource::Literal(literal.clone()));
    }
    let header = tag.header.as_ref()?;
    Some(TagSource::Header { name: header.name.clone(), default: default(header) })
}

/// An empty default is none.
fn default(lookup: &Lookup) -> Option<String> {
    lookup.default.clone().filter(|default| !default.is_empty())
}

fn literal(name: &str, value: &str) -> Tag {
    Tag { name: name.to_owned(), source: TagSource::Literal(value.to_owned()) }
}
