//! What a proxy is told, old and new.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use ursa_envoy::json::to_json;
use ursa_envoy::resources::{LDS, Resource, Resources, SECRET};

/// A resource that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ResourceChange {
    /// Its type's URL.
    r#type: &'static str,
    /// Its name.
    name: String,
    /// What is done with it.
    action: Action,
    /// As it is; left out of secrets, and of what is too much to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    /// As it would be; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

/// What is done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Added,
    Changed,
    Removed,
}

impl ResourceChange {
    /// The listener whose connections are asked to close by this: one that is otherwise, or no more.
    pub(crate) fn drained(&self) -> Option<&str> {
        let drains = self.r#type == LDS && self.action != Action::Added;
        drains.then_some(self.name.as_str())
    }

    /// Without contents.
    pub(crate) fn brief(&mut self) {
        self.before = None;
        self.after = None;
    }
}

/// What differs, by type and name.
pub(super) fn changes(before: &Resources, after: &Resources) -> Vec<ResourceChange> {
    let mut changes = Vec::new();
    let types: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    for r#type in types {
        let of =
            |side: &Resources, name: &str| side.get(r#type).and_then(|all| all.get(name)).cloned();
        let names = [before, after].into_iter().filter_map(|side| side.get(r#type));
        let names: BTreeSet<_> = names.flat_map(|all| all.keys()).collect();
        for name in names {
            let (old, new) = (of(before, name), of(after, name));
            let action = match (&old, &new) {
                (Some(old), Some(new)) if old.version == new.version => continue,
                (None, _) => Action::Added,
                (_, None) => Action::Removed,
                _ => Action::Changed,
            };
            let shown = |resource: Option<Resource>| {
                resource.filter(|_| r#type != SECRET).map(|it| to_json(r#type, &it.body.value))
            };
            let (before, after) = (shown(old), shown(new));
            changes.push(ResourceChange { r#type, name: name.clone(), action, before, after });
        }
    }
    changes
}
