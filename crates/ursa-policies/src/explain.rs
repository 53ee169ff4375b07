//! Telling a person what holds for a proxy, and which policy and which line made it so.

use serde::Serialize;
use serde_json::Value as Json;
use ursa_model::key::ResourceKey;
use ursa_model::path::{Path, Segment};

use crate::backends::Applied;
use crate::effective::{Effective, ROUTES};
use crate::kind::Policy as _;
use crate::merge::{Leaf, Origin, Tree};
use crate::mesh_trace::MeshTrace;

/// What one kind of policy makes of a proxy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The kind, for example `MeshTrace`.
    pub kind: &'static str,
    /// The policies that select the proxy, weakest first.
    pub policies: Vec<ResourceKey>,
    /// Those of them that are shadows: they are only looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<ResourceKey>,
    /// Every value by its path; defaults are among them.
    pub values: Vec<ExplainedValue>,
    /// What comes of them besides what they say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Explained {
    /// With what applying the policies found: what does nothing, how trace context travels, and the list of formats that
    /// comes with the backends where nobody wrote one.
    #[must_use]
    pub fn with(mut self, applied: &Applied) -> Self {
        if self.kind != MeshTrace::NAMES.name {
            return self;
        }
        for value in &mut self.values {
            let mut lacking = applied.without_effect.iter();
            let why = lacking.find(|(path, _)| path.contains(&value.path)).map(|(_, why)| why);
            value.without_effect = why.cloned();
        }
        let Some(context) = &applied.context else { return self };
        let unset = |value: &&mut ExplainedValue| {
            value.origin.is_none() && value.path == Path::root().key("propagators")
        };
        if let Some(value) = self.values.iter_mut().find(unset) {
            value.value = context.formats.iter().chain(&context.lost).copied().collect();
        }
        self.remarks.push(format!("trace context: {context}"));
        self
    }
}

/// One value that holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExplainedValue {
    /// Path below `spec.default`, for example `sampling.overall`; below the part where a kind has others: `from.backends`,
    /// `to["MeshService catalog"].backends`.
    pub path: Path,
    /// The value.
    pub value: Json,
    /// Who wrote it; none for a default.
    pub origin: Option<Origin>,
    /// What weaker policies say about the same field, and which, weakest first.
    pub overridden: Vec<(Origin, Json)>,
    /// Why it does nothing for this proxy; none if it holds.
    #[serde(rename = "withoutEffect", skip_serializing_if = "Option::is_none")]
    pub without_effect: Option<String>,
}

/// Explains `effective`, whose kind has these `defaults`.
pub(crate) fn explain(effective: &Effective, defaults: &Json) -> Explained {
    let mut values = Vec::new();
    for holding in effective.parts() {
        let layers: Vec<_> = holding.layers.iter().map(|layer| layer.leaves()).collect();
        let mut of_part = of_tree(&holding.merged(), &layers, defaults);
        if holding.at.segments().first() == Some(&Segment::Key(ROUTES.to_owned())) {
            // What is as for the proxy stands there.
            of_part.retain(|value| {
                value.origin.as_ref().is_some_and(|origin| effective.is_of_routes(&origin.policy))
            });
        }
        values.extend(
            of_part
                .into_iter()
                .map(|value| ExplainedValue { path: holding.at.join(&value.path), ..value }),
        );
    }
    values.sort_by(|a, b| a.path.cmp(&b.path));
    let policies = effective.policies().iter().map(|policy| policy.key.clone()).collect();
    let shadows = effective.policies().iter().filter(|policy| policy.is_shadow());
    let shadows = shadows.map(|policy| policy.key.clone()).collect();
    Explained { kind: effective.kind(), policies, shadows, values, remarks: Vec::new() }
}

/// What is merged to `tree`, with the defaults of what nobody wrote.
fn of_tree(tree: &Tree, layers: &[Vec<(Path, &Leaf)>], defaults: &Json) -> Vec<ExplainedValue> {
    let written = tree.leaves().into_iter().filter(|(_, leaf)| !leaf.value.is_null());
    let mut values: Vec<_> = written
        .map(|(path, leaf)| ExplainedValue {
            overridden: overridden(layers, &path, leaf),
            path,
            value: leaf.value.clone(),
            origin: Some(leaf.origin.clone()),
            without_effect: None,
        })
        .collect();
    for (path, value) in default_leaves(defaults) {
        if !values.iter().any(|known| path.contains(&known.path)) {
            values.push(ExplainedValue {
                path,
                value: value.clone(),
                origin: None,
                overridden: Vec::new(),
                without_effect: None,
            });
        }
    }
    values
}

/// What weaker layers say where `winner` was written.
fn overridden(layers: &[Vec<(Path, &Leaf)>], path: &Path, winner: &Leaf) -> Vec<(Origin, Json)> {
    if matches!(path.segments().last(), Some(Segment::Index(_))) {
        return Vec::new(); // an element of a joined list: nothing was lost
    }
    let same = |(own, leaf): &&(Path, &Leaf)| own == path && leaf.origin != winner.origin;
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
