//! What becomes of a request's baggage: what may come in, what is set, what goes on.

use serde::Serialize;
use ursa_propagation::baggage::{Dropped, Rules, members};
use ursa_propagation::{Changes, Format, Header, Headers};

use super::Request;
use super::context::Lower;
use crate::proxy::HttpListener;

/// Something that becomes of baggage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Handled {
    /// The setting that says so, as `baggage.incoming`; `None` if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// What, in words.
    pub words: String,
}

impl Handled {
    fn new(field: Option<&'static str>, words: impl Into<String>) -> Self {
        Self { field, words: words.into() }
    }
}

/// What becomes of the baggage of `request`; nothing if there is none, before and after. `is_listed` says whether policies
/// list it.
pub fn baggage(listener: &HttpListener, request: &Request, is_listed: bool) -> Vec<Handled> {
    let hooks = listener.propagation.as_ref();
    let rules = hooks.and_then(|hooks| hooks.rules.as_deref());
    let rules = rules.and_then(|rules| Rules::parse(rules.as_bytes())).unwrap_or_default();
    let mut handled = Vec::new();
    let came = Lower::of(request);
    let (inside, dropped) =
        stage(&came, |headers, changes| rules.extract(headers, &|name| came.first(name), changes));
    let (names_came, names_inside) = (names(&came), names(&inside));
    let without = |before: &[String], after: &[String]| -> Vec<String> {
        before.iter().filter(|name| !after.contains(name)).map(|name| format!("`{name}`")).collect()
    };
    let denied = without(&denied(&names_came, &rules), &names_inside);
    if !denied.is_empty() {
        let words = format!("{} may not come in", denied.join(", "));
        handled.push(Handled::new(Some("baggage.incoming"), words));
    }
    handled.extend(lost(dropped));
    let set: Vec<_> = rules.settings().filter_map(|it| set(it.name, &came, &inside)).collect();
    if !set.is_empty() {
        handled.push(Handled::new(Some("baggage.set"), format!("{} set", set.join(", "))));
    }
    let (out, dropped) = stage(&inside, |headers, changes| rules.inject(headers, changes));
    let kept_back = without(&names_inside, &names(&out));
    if !kept_back.is_empty() {
        let words = format!("{} may not go on", kept_back.join(", "));
        handled.push(Handled::new(Some("baggage.outgoing"), words));
    }
    handled.extend(lost(Dropped { denied: 0, ..dropped }));

    let [before, after] = [&came, &out].map(text);
    let strips = hooks.is_some_and(|hooks| hooks.formats.strips());
    if strips && !hooks.is_some_and(|hooks| hooks.formats.contains(Format::W3cBaggage)) {
        if after.is_some() {
            let words = "is not in the list: `stripUnlisted` removes it before it goes on";
            handled.push(Handled::new(Some("stripUnlisted"), words));
        }
        return handled;
    }
    match (before, after) {
        (None, None) => {}
        (Some(_), None) => handled.push(Handled::new(None, "nothing of it goes on")),
        (before, Some(after)) if before.as_ref() == Some(&after) => {
            let words = if is_listed {
                "passes as it is"
            } else {
                "is not in the list, and passes as it is"
            };
            handled.push(Handled::new(None, words));
        }
        (_, Some(after)) => handled.push(Handled::new(None, format!("goes on as `{after}`"))),
    }
    handled
}

/// The headers after one of the hooks, and what it drops.
fn stage(
    lower: &Lower,
    hook: impl FnOnce(&Headers<'_>, &mut Changes) -> Dropped,
) -> (Lower, Dropped) {
    let mut changes = Changes::default();
    let dropped = hook(&lower.headers(), &mut changes);
    let baggage = changes.iter().find(|(header, _)| *header == Header::Baggage);
    let after = match baggage {
        None => lower.clone(),
        Some((_, value)) => lower.with("baggage", value),
    };
    (after, dropped)
}

/// Keys of members, each once.
fn names(lower: &Lower) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for member in members(lower.headers().baggage()) {
        let name = String::from_utf8_lossy(member.key).into_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn denied(names: &[String], rules: &Rules<'_>) -> Vec<String> {
    names.iter().filter(|name| !rules.incoming.passes(name.as_bytes())).cloned().collect()
}

/// A member that is otherwise than it came.
fn set(name: &[u8], came: &Lower, inside: &Lower) -> Option<String> {
    let value = |lower: &Lower| {
        let headers = lower.headers();
        let member = ursa_propagation::baggage::find(headers.baggage(), name)?;
        Some(String::from_utf8_lossy(member.whole).into_owned())
    };
    let now = value(inside)?;
    (value(came).as_ref() != Some(&now)).then(|| format!("`{now}`"))
}

/// What is dropped that no rule names.
fn lost(dropped: Dropped) -> impl Iterator<Item = Handled> {
    let parts = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(Handled::new(None, format!("1 part of it {one}"))),
        count => Some(Handled::new(None, format!("{count} parts of it {many}"))),
    };
    let invalid = parts(
        dropped.invalid,
        "is no `key=value`, and is dropped",
        "are no `key=value`, and are dropped",
    );
    let cut = parts(dropped.cut, "is too much, and is cut", "are too much, and are cut");
    invalid.into_iter().chain(cut)
}

/// All lines as one.
fn text(lower: &Lower) -> Option<String> {
    let headers = lower.headers();
    let lines: Vec<_> = headers.baggage().iter().map(String::from_utf8_lossy).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{Formats, Propagation};
    use crate::request::tests::{listener, request};

    /// What the module is told, the lines that come, and what is said.
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

    #[test]
    fn what_becomes_of_baggage_is_said() {
        const RULES: &str = "b3,w3c_baggage\nin allow tenant.* internal.*\nin deny tenant.secret\nout deny internal.*\nset team =core";
        let cases: [Case<'_>; 9] = [
            ("", &[], &[]),
            ("", &["a=b"], &["passes as it is"]),
            ("b3", &["a=b"], &["is not in the list, and passes as it is"]),
            (
                "b3;strip",
                &["a=b"],
                &["is not in the list: `stripUnlisted` removes it before it goes on"],
            ),
            ("b3,w3c_baggage;strip", &["a=b"], &["passes as it is"]),
            (RULES, &[], &["`team=core` set", "goes on as `team=core`"]),
            (
                RULES,
                &["tenant.id=1;ttl=1,tenant.secret=1, team=forged", "internal.x=2,broken"],
                &[
                    "`tenant.secret` may not come in",
                    "1 part of it is no `key=value`, and is dropped",
                    "`team=core` set",
                    "`internal.x` may not go on",
                    "goes on as `tenant.id=1;ttl=1,team=core`",
                ],
            ),
            ("b3\nin allow", &["a=b"], &["`a` may not come in", "nothing of it goes on"]),
            ("b3\nadd a =c", &["a=b"], &["is not in the list, and passes as it is"]),
        ];
        for (told, lines, expected) in cases {
            let mut listener = listener("100", "100", "100");
            let (formats, rules) =
                told.split_once('\n').map_or((told, None), |(it, rules)| (it, Some(rules)));
            if !formats.is_empty() {
                let formats = Formats::parse(formats.as_bytes()).unwrap();
                let rules = rules.map(str::to_owned);
                listener.propagation =
                    Some(Propagation { rules, ..Propagation::new("/m.so", formats) });
            }
            let headers: Vec<_> = lines.iter().map(|line| ("Baggage", *line)).collect();
            let is_listed = formats.is_empty() || formats.contains("baggage");
            let handled = baggage(&listener, &request(&headers), is_listed);
            let said: Vec<_> = handled.iter().map(|it| it.words.as_str()).collect();
            assert_eq!(said, expected, "{told}: {lines:?}");
        }
    }
}
