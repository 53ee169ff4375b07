//! Values that policies set on a proxy, old and new.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use ursa_model::path::Path;
use ursa_policies::effective::Effective;
use ursa_policies::explain::ExplainedValue;
use ursa_policies::merge::Origin;

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ValueChange {
    /// The kind of policy.
    kind: &'static str,
    /// Its path as explanations have it.
    path: Path,
    /// As it is; none where no policy of the kind holds.
    before: Option<Held>,
    /// As it would be.
    after: Option<Held>,
}

/// A value, and who sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Held {
    value: Value,
    /// None: it is the default.
    origin: Option<Origin>,
}

/// What differs, by kind and path.
pub(super) fn changes(before: &[Effective], after: &[Effective]) -> Vec<ValueChange> {
    let (mut old, new) = (held(before), held(after));
    let mut changes = Vec::new();
    for ((kind, path), new) in new {
        let old = old.remove(&(kind, path.clone()));
        if old.as_ref().map(|old| &old.value) != Some(&new.value) {
            changes.push(ValueChange { kind, path, before: old, after: Some(new) });
        }
    }
    let gone = old.into_iter().map(|((kind, path), old)| {
        let (before, after) = (Some(old), None);
        ValueChange { kind, path, before, after }
    });
    changes.extend(gone);
    // Defaults that come or go with the first or last policy of a kind say nothing.
    let is_written = |held: &Option<Held>| held.as_ref().is_some_and(|held| held.origin.is_some());
    changes.retain(|change| is_written(&change.before) || is_written(&change.after));
    changes.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
    changes
}

/// What holds; of kinds of which a policy selects the proxy.
fn held(effective: &[Effective]) -> BTreeMap<(&'static str, Path), Held> {
    let selecting = effective.iter().filter(|effective| !effective.policies().is_empty());
    let values = selecting.flat_map(|effective| {
        let kind = effective.kind();
        effective.explain().values.into_iter().map(move |value| (kind, value))
    });
    let held =
        |(kind, ExplainedValue { path, value, origin, .. })| ((kind, path), Held { value, origin });
    values.map(held).collect()
}
