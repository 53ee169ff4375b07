//! Telling a person what holds for a proxy, and which policy and which line made it so.

use serde::Serialize;
use serde_json::Value as Json;
use ursa_model::key::ResourceKey;
use ursa_model::path::{Path, Segment};

use crate::effective::Effective;
use crate::merge::{Leaf, Origin};

/// What one kind of policy makes of a proxy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The kind, for example `MeshTrace`.
    pub kind: &'static str,
    /// The policies that select the proxy, weakest first.
    pub policies: Vec<ResourceKey>,
    /// Every value by its path; defaults are among them.
    pub values: Vec<ExplainedValue>,
}

/// One value that holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedValue {
    /// Path below `spec.default`, for example `sampling.overall`.
    pub path: Path,
    /// The value.
    pub value: Json,
    /// Who wrote it; none for a default.
    pub origin: Option<Origin>,
    /// What weaker policies say about the same field, and which, weakest first.
    pub overridden: Vec<(Origin, Json)>,
}

/// Explains `effective`, whose kind has these `defaults`.
pub(crate) fn explain(effective: &Effective, defaults: &Json) -> Explained {
    let layers: Vec<_> =
        effective.policies().iter().map(|policy| policy.settings().leaves()).collect();
    let written = effective.merged().leaves().into_iter().filter(|(_, leaf)| !leaf.value.is_null());
    let mut values: Vec<_> = written
        .map(|(path, leaf)| ExplainedValue {
            path,
            value: leaf.value.clone(),
            origin: Some(leaf.origin.clone()),
            overridden: overridden(&layers, leaf),
        })
        .collect();
    for (path, value) in default_leaves(defaults) {
        if !values.iter().any(|known| path.contains(&known.path)) {
            values.push(ExplainedValue {
                path,
                value: value.clone(),
                origin: None,
                overridden: Vec::new(),
            });
        }
    }
    values.sort_by(|a, b| a.path.cmp(&b.path));
    let policies = effective.policies().iter().map(|policy| policy.key.clone()).collect();
    Explained { kind: effective.kind(), policies, values }
}

/// What other policies wrote at the path where `winner` was written.
fn overridden(layers: &[Vec<(Path, &Leaf)>], winner: &Leaf) -> Vec<(Origin, Json)> {
    if matches!(winner.origin.path.segments().last(), Some(Segment::Index(_))) {
        return Vec::new(); // an element of a joined list: nothing was lost
    }
    let same = |(_, leaf): &&(Path, &Leaf)| {
        leaf.origin.path == winner.origin.path && leaf.origin.policy != winner.origin.policy
    };
    let shown = |(_, leaf): &(Path, &Leaf)| (leaf.origin.clone(), leaf.value.clone());
    layers.iter().filter_map(|layer| layer.iter().find(same)).map(shown).collect()
}

/// The values of `defaults` that policies set one by one: scalars, lists, empty objects.
fn default_leaves(defaults: &Json) -> Vec<(Path, &Json)> {
    fn collect<'j>(value: &'j Json, path: &Path, found: &mut Vec<(Path, &'j Json)>) {
        match value {
            Json::Object(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    collect(value, &path.key(key), found);
                }
            }
            _ => found.push((path.clone(), value)),
        }
    }
    let mut found = Vec::new();
    collect(defaults, &Path::root(), &mut found);
    found
}
