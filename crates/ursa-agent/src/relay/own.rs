//! The agent's own resources, on their way to whoever applies them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cache::Item;

/// What the agent itself is to do: its own resources, by type and name.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(super) items: BTreeMap<(&'static str, String), Arc<Item>>,
}

impl Own {
    /// The resources of one type.
    pub(crate) fn of(&self, type_url: &str) -> impl Iterator<Item = (&String, &Arc<Item>)> {
        self.items
            .iter()
            .filter(move |((of, _), _)| *of == type_url)
            .map(|((_, name), item)| (name, item))
    }
}

/// Which of them were refused, and why; what is not named was taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    refused: BTreeMap<(&'static str, String), String>,
}

impl Verdicts {
    /// Refuses one.
    pub(crate) fn refuse(&mut self, type_url: &'static str, name: &str, words: &str) {
        self.refused.insert((type_url, name.to_owned()), words.to_owned());
    }

    /// Whether nothing was refused.
    pub(crate) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// What was refused: type, name and words.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        self.refused
            .iter()
            .map(|((type_url, name), words)| (*type_url, name.as_str(), words.as_str()))
    }

    /// Why one was refused, if it was.
    pub(crate) fn refusal(&self, type_url: &'static str, name: &str) -> Option<&str> {
        self.refused.get(&(type_url, name.to_owned())).map(String::as_str)
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&'static str, &str, &[u8]); N]> for Own {
    fn from(resources: [(&'static str, &str, &[u8]); N]) -> Self {
        use envoy_types::pb::google::protobuf::Any;
        let items = resources.into_iter().map(|(type_url, name, value)| {
            let body = Any { type_url: type_url.to_owned(), value: value.to_owned() };
            let item = Item { version: "1".to_owned(), body };
            ((type_url, name.to_owned()), Arc::new(item))
        });
        Self { items: items.collect() }
    }
}
