//! Names of spans by their attributes.

use std::borrow::Cow;

use ursa_model::template::{Template, TemplateError};

use super::envoy::Facts;
use super::list::List;

/// What refers to the name that a span has.
const OWN: &str = "name";

/// The processor `spanName`, compiled.
#[derive(Debug, Clone)]
pub(super) struct Name {
    template: Template,
}

impl Name {
    pub(super) fn new(template: &str) -> Result<Self, TemplateError> {
        Ok(Self { template: Template::parse(template)? })
    }

    pub(super) fn apply(&self, list: &List<'_>, facts: &mut Facts<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lookup = |name: &str| match list.get(name.as_bytes()) {
            Some(attribute) => attribute.value.shown(&list.made).map(|value| text(&value)),
            None => (name == OWN).then(|| text(&facts.name)),
        };
        if let Some(name) = self.template.render(lookup).value {
            facts.name = Cow::Owned(name.into_bytes());
        }
    }
}
