//! Kinds written as an object with one field named after the kind: `{filter: {…}}`.

use serde_json::Value as Json;

use super::{Checker, refuse_unknown, wrong_type};
use crate::report::Cursor;
use crate::tree::Node;

/// The kinds and the schemas of their settings, if that is what the alternatives are.
pub(super) fn kinds<'s>(alternatives: &[&'s Json]) -> Option<Vec<(&'s str, &'s Json)>> {
    let kind = |schema: &&'s Json| {
        let properties = schema.get("properties")?.as_object()?;
        let (name, settings) = properties.iter().next().filter(|_| properties.len() == 1)?;
        let required = schema.get("required")?.as_array()?;
        let only = required.len() == 1 && required.first().and_then(Json::as_str) == Some(name);
        only.then_some((name.as_str(), settings))
    };
    alternatives.iter().map(kind).collect::<Option<Vec<_>>>().filter(|kinds| kinds.len() > 1)
}

impl<'s> Checker<'s> {
    /// Reports all but exactly one field of a known name with settings that fit.
    pub(super) fn one_kind(&self, node: &Node, kinds: &[(&'s str, &'s Json)], cursor: &Cursor<'_>) {
        let Some(map) = node.as_map() else { return wrong_type(node, &["object"], cursor) };
        let names = || kinds.iter().map(|(name, _)| *name);
        let mut found = Vec::new();
        let mut unknown = false;
        for entry in map {
            let cursor = cursor.key(&entry.key);
            match kinds.iter().find(|(name, _)| *name == entry.key) {
                Some((name, _)) if entry.node.is_null() => {
                    found.push(*name);
                    cursor.refuse_with_hint("has no settings", format!("write `{name}: {{}}`"));
                }
                Some((name, settings)) => {
                    found.push(*name);
                    self.value(&entry.node, settings, &cursor);
                }
                None => {
                    unknown = true;
                    refuse_unknown(&entry.key, names(), map, &cursor);
                }
            }
        }
        let quoted = |names: &mut dyn Iterator<Item = &str>| {
            names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        match found.as_slice() {
            [] if !unknown => {
                cursor.refuse(format!("needs one of {}", quoted(&mut names())));
            }
            [] | [_] => {}
            several => cursor.refuse_with_hint(
                format!("holds {} at once", quoted(&mut several.iter().copied())),
                "only one can be meant; give each an item of its own",
            ),
        }
    }
}
