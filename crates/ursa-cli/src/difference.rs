//! How generated resources differ, for people: by resource, the lines of its YAML that go and come.

use std::collections::BTreeSet;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use ursa_model::document::to_yaml;

use crate::output::Output;
use crate::paint::{Paint, Style};

/// Lines shown around each change.
const CONTEXT: usize = 2;

/// One resource that differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// Its type's short name, such as `Listener`.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl Change {
    /// Of `{"type", "name", "before", "after"}`.
    pub(crate) fn of(change: &Value) -> Self {
        let given = |field: &str| change.get(field).filter(|value| !value.is_null()).cloned();
        let text = |field: &str| change[field].as_str().unwrap_or_default();
        let (before, after) = (given("before"), given("after"));
        Self { kind: short(text("type")), name: text("name").to_owned(), before, after }
    }
}

/// What differs between two `{type: {name: {"body", …}}}`.
pub(crate) fn of_resources(before: &Value, after: &Value, only: Option<&str>) -> Vec<Change> {
    let mut changes = Vec::new();
    for url in names(before, after) {
        if only.is_some_and(|only| only != url) {
            continue;
        }
        let (before, after) = (&before[&url], &after[&url]);
        for name in names(before, after) {
            let body = |of: &Value| of.get(&name).map(|resource| resource["body"].clone());
            let (old, new) = (body(before), body(after));
            if old != new {
                changes.push(Change { kind: short(&url), name, before: old, after: new });
            }
        }
    }
    changes
}

fn names(before: &Value, after: &Value) -> BTreeSet<String> {
    let fields = [before, after].into_iter().filter_map(Value::as_object).flatten();
    fields.map(|(name, _)| name.clone()).collect()
}

fn short(url: &str) -> String {
    url.rsplit(['/', '.']).next().unwrap_or(url).to_owned()
}

/// The changes, each under a line that names its resource.
pub(crate) fn text(changes: &[Change], output: Output) -> String {
    let paint = Paint::new(output.color);
    let mut text = String::new();
    for Change { kind, name, before, after } in changes {
        let sign = match (before, after) {
            (None, _) => "+",
            (_, None) => "-",
            _ => "~",
        };
        text.push_str(&paint.text(Style::Bold, &format!("{sign} {kind} {name}")));
        text.push('\n');
        let yaml = |value: &Option<Value>| value.as_ref().map(to_yaml).unwrap_or_default();
        lines(&yaml(before), &yaml(after), paint, &mut text);
    }
    text
}

fn lines(before: &str, after: &str, paint: Paint, text: &mut String) {
    let diff = TextDiff::from_lines(before, after);
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            text.push_str("    …\n");
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", Style::Failed),
                ChangeTag::Insert => ("+", Style::Good),
                ChangeTag::Equal => (" ", Style::Dim),
            };
            let line = format!("  {sign} {}", change.value().trim_end_matches('\n'));
            text.push_str(&paint.text(style, &line));
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Color;
    use serde_json::json;

    #[test]
    fn a_difference_names_the_resource_and_shows_the_lines() {
        let resources = |random: u32, added: bool| {
            let mut of_type = json!({"inbound:80": {"version": random.to_string(), "body": {
                "name": "inbound:80", "domains": ["*"], "path": "/", "tracing": {"random": random}, "cluster": "local:80"}}});
            if added {
                of_type["inbound:81"] = json!({"version": "1", "body": {"name": "inbound:81"}});
            }
            json!({"type.googleapis.com/envoy.config.route.v3.RouteConfiguration": of_type})
        };
        let changes = of_resources(&resources(100, false), &resources(10, true), None);
        insta::assert_snapshot!(text(&changes, Output::from_terminal(Color::Never)), @r"
        ~ RouteConfiguration inbound:80
            path: /
            tracing:
          -   random: 100
          +   random: 10
            cluster: local:80
        + RouteConfiguration inbound:81
          + name: inbound:81
        ");
        let same = resources(10, true);
        assert_eq!(of_resources(&same, &same, None), []);
    }
}
