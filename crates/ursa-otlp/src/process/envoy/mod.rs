//! Envoy's span tags in the names and types of OpenTelemetry's semantic conventions.
//!
//! Envoy 1.40, `source/common/tracing`: `HttpTracerUtility`, `TracingTagValues`. Every tag is text
//! there, and a span of Envoy's own has `component: proxy`. Conventions 1.37: HTTP, RPC, URL,
//! network, error.

mod given;
mod names;
mod said;
mod tag;
mod url;

use std::borrow::Cow;

use ursa_model::pipeline::processor::{SemanticConventions, SpanKind};

pub(super) use given::{Becomes, Given, New};
#[cfg(test)]
pub(super) use names::NAMES;
pub(super) use names::Name;
pub(super) use said::Said;
pub(super) use tag::{Tag, tag};
use url::service_and_method;

use super::list::{List, State, Value};

/// Which conventions these are.
pub(super) const SCHEMA_URL: &[u8] = b"https://opentelemetry.io/schemas/1.37.0";
/// `STATUS_CODE_ERROR`.
pub(super) const ERROR: i32 = 2;
/// Attributes of a span that are converted; those beyond stay.
pub(super) const MOST_TAGS: usize = 48;
/// What a span says besides its attributes.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) kind: i32,
    pub(super) status: i32,
}

/// The processor `semanticConventions: {from: envoy}`.
#[derive(Debug, Clone)]
pub(super) struct Conventions {
    span_names: bool,
}

/// Whether Envoy made the span that has these attributes.
pub(super) fn made(list: &List<'_>) -> bool {
    list.present()
        .any(|attribute| attribute.key == b"component" && list.text(attribute) == Some(b"proxy"))
}

impl Conventions {
    pub(super) fn new(spec: &SemanticConventions) -> Self {
        Self { span_names: spec.span_names.unwrap_or(true) }
    }

    /// Renames what a span of Envoy's says. Gives whether it was one.
    pub(super) fn apply<'a>(&self, list: &mut List<'a>, facts: &mut Facts<'a>) -> bool {
        if !made(list) {
            return false;
        }
        if list.made.is_empty() {
            self.rename(list, &[], facts, |text, _| Value::Text(text));
        } else {
            let made = list.made.clone();
            self.rename(list, &made, facts, |text, made| Value::made(text.to_vec(), made));
        }
        true
    }

    /// `keep` makes a text that stands in the request or in `made`, a copy of what was made, a value.
    fn rename<'a: 't, 't>(
        &self,
        list: &mut List<'a>,
        made: &'t [Vec<u8>],
        facts: &mut Facts<'a>,
        keep: impl Fn(&'t [u8], &mut Vec<Vec<u8>>) -> Value<'a>,
    ) {
        let server = facts.kind == SpanKind::Server.number();
        let (mut given, mut said) = (Given::default(), Said::default());
        let mut tags = [None; MOST_TAGS];
        // Attributes beyond these stay as they are; Envoy writes some twenty.
        for (index, attribute) in list.all.iter().enumerate() {
            if attribute.state == State::Removed {
                continue;
            }
            let tag = tag(attribute.key);
            if let Some(Tag::Given(bit)) = tag {
                given.bits |= bit;
            }
            if let (Some(place), Some(tag)) = (tags.get_mut(index), tag) {
                said.hear(tag, attribute.value.text(made));
                *place = Some(tag);
            }
        }
        for (attribute, tag) in list.all.iter_mut().zip(tags) {
            let Some(tag) = tag else { continue };
            match tag.convert(attribute.value.text(made), &said, server, &mut given) {
                Becomes::Same => {}
                Becomes::Gone => attribute.remove(),
                Becomes::Named(name) => attribute.rename(name.text),
                Becomes::Valued(name, value) => {
                    attribute.rename(name.text);
                    attribute.put(match value {
                        New::Int(number) => Value::Int(number),
                        New::Text(text) => keep(text, &mut list.made),
                    });
                }
            }
        }
        if said.conclude(server, &mut given) && facts.status == 0 {
            facts.status = ERROR;
        }
        for (name, value) in given.added() {
            let value = match value {
                New::Int(number) => Value::Int(number),
                New::Text(text) => keep(text, &mut list.made),
            };
            list.add(name.text, value);
        }
        list.changed = true;
        if let Some(name) = self.name(&facts.name, &said) {
            facts.name = Cow::Owned(name.concat());
        }
    }

    /// The span's new name, in pieces; none if it keeps the one that it has.
    pub(super) fn name<'t>(&self, now: &[u8], said: &Said<'t>) -> Option<[&'t [u8]; 3]> {
        if !self.span_names || !is_default_name(now) {
            return None;
        }
        if service_and_method(said.rpc).is_some() {
            return Some([said.rpc.get(1..)?, b"", b""]);
        }
        if said.method.is_empty() {
            return None;
        }
        let method = if said.knows_method() { said.method } else { b"HTTP" };
        let space: &[u8] = if said.route.is_empty() { b"" } else { b" " };
        Some([method, space, said.route])
    }
}

/// Names that Envoy gives when nobody named the operation.
fn is_default_name(name: &[u8]) -> bool {
    matches!(name, b"ingress" | b"egress") || name.starts_with(b"egress ")
}
