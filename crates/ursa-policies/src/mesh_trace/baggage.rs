//! Rules for W3C Baggage: what is set, what callers may bring, and what goes on.
//!
//! The module holds them, on every HTTP listener for whose direction there are some. Where it cannot be loaded nothing
//! stands in for it, which whoever relies on a filter has to know.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use ursa_envoy::module::{Formats, Propagation};
use ursa_envoy::proxy::{Direction, ListenerKind, ProxyConfig};
use ursa_model::path::Path;
use ursa_model::report::Cursor;
use ursa_propagation::baggage::{Filter, SETTINGS_MAX, escape};
use ursa_propagation::{Format, Writer};

use super::schema::{BaggageFilter, BaggageRules, BaggageSetting, Conf};
use crate::backends::{Applied, Lack};
use crate::header::{is_header, is_token};
use crate::kind::Merged;

/// Names that a list may have, bytes that a name may have, and a value. Rules are a part of each listener, and looked
/// through for each request.
const NAMES_MAX: usize = 64;
const NAME_MAX: usize = 128;
const VALUE_MAX: usize = 256;

/// Puts the rules into the module on listeners of `proxy`, which comes in if it is not there.
pub(super) fn apply(merged: &Merged<'_, Conf>, proxy: &mut ProxyConfig, applied: &mut Applied) {
    let texts = texts(&merged.conf.baggage);
    if texts.iter().all(Option::is_none) {
        return;
    }
    let Some(module) = proxy.abilities.module.path().map(str::to_owned) else {
        let why = proxy.abilities.module.problem().unwrap_or("there is no module");
        return not_held(merged, &["baggage"], why, applied);
    };
    let formats = Formats::none();
    let formats = formats.with(Format::W3cTracecontext).unwrap_or(formats);
    for listener in &mut proxy.listeners {
        let [inbound, outbound] = &texts;
        let text = match listener.direction {
            Direction::Inbound => inbound,
            Direction::Outbound => outbound,
        };
        if let (ListenerKind::Http(http), Some(text)) = (&mut listener.kind, text) {
            let hooks = || Propagation::new(&module, formats);
            http.propagation.get_or_insert_with(hooks).rules = Some(text.clone());
        }
    }
}

/// Says that there are rules which nobody holds, since nothing is traced.
pub(super) fn warn_of_switched_off(merged: &Merged<'_, Conf>, applied: &mut Applied) {
    if texts(&merged.conf.baggage).iter().any(Option::is_some) {
        not_held(merged, &["baggage", "backends"], "nothing is traced here", applied);
    }
}

/// `fields` are those of whose writers one is to be told.
fn not_held(merged: &Merged<'_, Conf>, fields: &[&str], why: &str, applied: &mut Applied) {
    let rules = &merged.conf.baggage;
    applied.warn(format!("{}: {why}", lost(rules)));
    applied.lacks.push(Lack::new(merged, fields, in_short(rules), why));
    applied.without_effect.insert(Path::root().key("baggage"), why.to_owned());
}

/// What does not happen. Filters first: somebody relies on them.
fn lost(rules: &BaggageRules) -> String {
    let mut lost = Vec::new();
    if !is_open(rules.incoming.as_ref()) {
        lost.push("callers' baggage IS NOT FILTERED, what they forge is believed".to_owned());
    }
    if !is_open(rules.outgoing.as_ref()) {
        lost.push("baggage IS NOT FILTERED when it leaves, what is private goes out".to_owned());
    }
    let set: Vec<_> = rules.set.iter().flatten().map(|it| format!("`{}`", it.name)).collect();
    if !set.is_empty() {
        lost.push(format!("{} not set in baggage", set.join(", ")));
    }
    lost.join("; ")
}

/// The same at a glance.
fn in_short(rules: &BaggageRules) -> String {
    let filters = !is_open(rules.incoming.as_ref()) || !is_open(rules.outgoing.as_ref());
    let sets = rules.set.as_ref().is_some_and(|set| !set.is_empty());
    let clauses = [(filters, "baggage NOT FILTERED"), (sets, "members of baggage not set")];
    let clauses = clauses.into_iter().filter_map(|(holds, words)| holds.then_some(words));
    clauses.collect::<Vec<_>>().join(", ")
}

fn is_open(filter: Option<&BaggageFilter>) -> bool {
    filter.is_none_or(|filter| {
        filter.allow.is_none() && filter.deny.as_ref().is_none_or(Vec::is_empty)
    })
}

fn texts(rules: &BaggageRules) -> [Option<String>; 2] {
    [Direction::Inbound, Direction::Outbound].map(|direction| text(rules, direction))
}

/// The rules of a direction for the module ([`ursa_propagation::baggage::Rules`]); `None` if there are none.
fn text(rules: &BaggageRules, direction: Direction) -> Option<String> {
    let mut lines = Vec::new();
    let (way, filter) = match direction {
        Direction::Inbound => ("in", &rules.incoming),
        Direction::Outbound => ("out", &rules.outgoing),
    };
    if let Some(filter) = filter {
        let mut list = |word: &str, names: &[String]| {
            lines.push([&[format!("{way} {word}")], names].concat().join(" "));
        };
        if let Some(allow) = &filter.allow {
            list("allow", allow);
        }
        if let Some(deny) = filter.deny.as_ref().filter(|deny| !deny.is_empty()) {
            list("deny", deny);
        }
    }
    lines.extend(rules.set.iter().flatten().map(setting));
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn setting(setting: &BaggageSetting) -> String {
    let kind = if setting.if_absent == Some(true) { "add" } else { "set" };
    let mut line = format!("{kind} {}", setting.name);
    let mut value = setting.literal.as_ref();
    if let Some(header) = &setting.header {
        write!(line, " @{}", header.name.to_ascii_lowercase()).expect("texts take all");
        value = header.default.as_ref().filter(|default| !default.is_empty());
    }
    if let Some(value) = value {
        let mut bytes = vec![0; value.len().saturating_mul(3)];
        let mut out = Writer::new(&mut bytes);
        escape(value.as_bytes(), &mut out);
        line.push_str(" =");
        line.push_str(&String::from_utf8_lossy(out.text().unwrap_or_default()));
    }
    line
}

/// The cursor is that of the rules.
pub(super) fn validate(rules: &BaggageRules, cursor: &Cursor<'_>) {
    let mut names = BTreeSet::new();
    let settings = rules.set.as_deref().unwrap_or_default();
    if settings.len() > SETTINGS_MAX {
        cursor.at("set").refuse(format!("sets {SETTINGS_MAX} members at most"));
    }
    for (index, setting) in settings.iter().enumerate() {
        let cursor = cursor.at("set").index(index);
        if is_name(&setting.name, &cursor.at("name")) && !names.insert(&setting.name) {
            cursor.at("name").refuse("is set twice");
        }
        if setting.literal.is_some() == setting.header.is_some() {
            cursor.refuse("needs exactly one of `literal` and `header`");
        }
        if let Some(literal) = &setting.literal {
            if literal.is_empty() {
                cursor.at("literal").refuse("must not be empty");
            }
            is_short(literal, VALUE_MAX, &cursor.at("literal"));
        }
        if let Some(header) = &setting.header {
            if !is_header(&header.name) {
                cursor.at("header.name").refuse("is not the name of a header");
            }
            is_short(&header.name, NAME_MAX, &cursor.at("header.name"));
            is_short(
                header.default.as_deref().unwrap_or_default(),
                VALUE_MAX,
                &cursor.at("header.default"),
            );
        }
        if rules.outgoing.as_ref().is_some_and(|outgoing| !passes(outgoing, &setting.name)) {
            cursor.at("name").warn("does not go on to other services: `outgoing` takes it off");
        }
    }
    for (field, filter) in [("incoming", &rules.incoming), ("outgoing", &rules.outgoing)] {
        let Some(filter) = filter else { continue };
        for (list, names) in [("allow", &filter.allow), ("deny", &filter.deny)] {
            let cursor = cursor.at(field).at(list);
            let names = names.as_deref().unwrap_or_default();
            if names.len() > NAMES_MAX {
                cursor.refuse(format!("has {NAMES_MAX} names at most"));
            }
            for (index, name) in names.iter().enumerate() {
                is_pattern(name, &cursor.index(index));
            }
        }
    }
}

/// As the module compares.
fn passes(filter: &BaggageFilter, name: &str) -> bool {
    let allow = filter.allow.as_ref().map(|names| names.join(" "));
    let deny = filter.deny.as_ref().map(|names| names.join(" ")).unwrap_or_default();
    Filter::new(allow.as_deref().map(str::as_bytes), deny.as_bytes()).passes(name.as_bytes())
}

fn is_pattern(name: &str, cursor: &Cursor<'_>) {
    let start = name.strip_suffix('*');
    if start.unwrap_or(name).contains('*') {
        cursor.refuse("may have `*` at its end only");
    } else if start != Some("") {
        is_name(start.unwrap_or(name), cursor);
    }
}

fn is_name(name: &str, cursor: &Cursor<'_>) -> bool {
    let valid = is_token(name);
    if !valid {
        cursor.refuse_with_hint(
            "is not a key of baggage",
            "letters, digits and `!#$%&'*+-.^_`|~`, without spaces",
        );
    }
    is_short(name, NAME_MAX, cursor);
    valid
}

fn is_short(text: &str, most: usize, cursor: &Cursor<'_>) {
    if text.len() > most {
        cursor.refuse(format!("has {most} bytes at most"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use ursa_propagation::baggage::Rules;

    use super::*;

    fn rules() -> BaggageRules {
        from_value(json!({
            "set": [
                {"name": "tenant.id", "header": {"name": "X-Tenant", "default": "none yet"}},
                {"name": "team", "literal": "süß, 100%\n", "ifAbsent": true},
                {"name": "host", "header": {"name": ":authority"}},
            ],
            "incoming": {"allow": ["tenant.*", "*"], "deny": ["secret"]},
            "outgoing": {"allow": [], "deny": []},
        }))
        .unwrap()
    }

    #[test]
    fn the_module_reads_what_it_is_told() {
        let set = "set tenant.id @x-tenant =none%20yet\nadd team =s%C3%BC%C3%9F%2C%20100%25%0A\nset host @:authority";
        for (direction, filters) in [
            (Direction::Inbound, "in allow tenant.* *\nin deny secret"),
            (Direction::Outbound, "out allow"),
        ] {
            let text = text(&rules(), direction).unwrap();
            assert_eq!(text, format!("{filters}\n{set}"));
            assert_eq!(Rules::parse(text.as_bytes()).unwrap().settings().count(), 3);
        }
        assert_eq!(text(&BaggageRules::default(), Direction::Inbound), None);
        let only = BaggageRules { set: None, outgoing: None, ..rules() };
        assert_eq!(text(&only, Direction::Outbound), None);
    }

    #[test]
    fn what_is_lost_is_said() {
        assert_eq!(
            lost(&rules()),
            "callers' baggage IS NOT FILTERED, what they forge is believed; baggage IS NOT FILTERED when it leaves, \
             what is private goes out; `tenant.id`, `team`, `host` not set in baggage"
        );
        assert_eq!(in_short(&rules()), "baggage NOT FILTERED, members of baggage not set");
        let empty =
            BaggageRules { incoming: Some(BaggageFilter::default()), ..BaggageRules::default() };
        assert_eq!(texts(&empty), [None, None], "nothing is lost of nothing");
    }
}
