//! A plan as text. Proxies to which the same would happen are shown once.

use serde_json::Value;

use crate::command::apply::key_text;
use crate::command::proxy::{origin, plain};
use crate::difference::{self, Change};
use crate::documents::{Source, one_line};
use crate::failure::Outcome;
use crate::output::Output;

/// Names that are listed of proxies with the same change.
const MAX_NAMED: usize = 8;
/// What is said of spans where `sampling.rules` are set.
const NOT_APART: &str = " (rules are not told apart)";

/// Shows the server's answer; `values_only` leaves out the lines of Envoy's configuration.
pub(crate) fn show(
    answer: &Value,
    sources: &[Source],
    values_only: bool,
    output: Output,
) -> Outcome<()> {
    for change in answer["changes"].as_array().into_iter().flatten() {
        for warning in change["warnings"].as_array().into_iter().flatten() {
            output.warning(&one_line(warning, sources));
        }
    }
    output.result(&text(answer, values_only, output))
}

fn text(answer: &Value, values_only: bool, output: Output) -> String {
    let mut text = String::new();
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for change in changes {
        let action = change["action"].as_str().unwrap_or("changed");
        push(&mut text, &format!("{} would be {action}", key_text(&change["key"])));
    }
    let proxies = answer["proxies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let looked_at = answer["lookedAt"].as_u64().unwrap_or_default();
    if proxies.is_empty() {
        push(
            &mut text,
            &format!("\nNo proxy would change ({} looked at).", counted_proxies(looked_at)),
        );
        return text;
    }
    let verb = format!("\n{} of {} would change:", proxies.len(), counted_proxies(looked_at));
    push(&mut text, &verb);
    let mut groups: Vec<(String, Vec<&Value>)> = Vec::new();
    for proxy in proxies {
        let shown = body(proxy, values_only, output);
        match groups.iter_mut().find(|(known, _)| *known == shown) {
            Some((_, proxies)) => proxies.push(proxy),
            None => groups.push((shown, vec![proxy])),
        }
    }
    for (body, proxies) in &groups {
        push(&mut text, &format!("\n{}", some(proxies.iter().map(|proxy| name(proxy)))));
        text.push_str(body);
        for proxy in proxies {
            text.push_str(&of_one(proxy));
        }
    }
    text.push_str(&sums(proxies));
    text
}

fn counted_proxies(count: u64) -> String {
    if count == 1 { "1 proxy".to_owned() } else { format!("{count} proxies") }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn name(proxy: &Value) -> String {
    let part = |field: &str| proxy["proxy"][field].as_str().unwrap_or_default();
    format!("{}/{}", part("mesh"), part("name"))
}

/// The first names, and how many more there are.
fn some(names: impl ExactSizeIterator<Item = impl Into<String>>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let mut names: Vec<String> = names.take(MAX_NAMED).map(Into::into).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// What is the same for all proxies of a group.
fn body(proxy: &Value, values_only: bool, output: Output) -> String {
    let mut text = String::new();
    for value in proxy["values"].as_array().into_iter().flatten() {
        let side = |side: &str| match &value[side] {
            Value::Null => "unset".to_owned(),
            held => plain(&held["value"]),
        };
        let text_of = |field: &str| value[field].as_str().unwrap_or_default();
        let (kind, path) = (text_of("kind"), text_of("path"));
        push(&mut text, &format!("  {kind} {path}: {} → {}", side("before"), side("after")));
        for (field, words) in [("after", ""), ("before", "instead of what is ")] {
            if !value[field].is_null() {
                push(&mut text, &format!("      {words}{}", origin(&value[field]["origin"], &[])));
            }
        }
    }
    let travels = &proxy["traceContext"];
    if travels.is_object() {
        let side = |side: &str| travels[side].as_str().unwrap_or("none").to_owned();
        push(&mut text, &format!("  trace context: {} → {}", side("before"), side("after")));
    }
    let drains: Vec<_> =
        proxy["drains"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !drains.is_empty() {
        let listeners = some(drains.into_iter());
        push(
            &mut text,
            &format!(
                "  connections of {listeners} would be asked to close, at their next response"
            ),
        );
    }
    for warning in proxy["warnings"].as_array().into_iter().flatten() {
        push(&mut text, &format!("  warning: {}", plain(warning)));
    }
    let resources = proxy["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has_contents = |it: &&Value| !it["before"].is_null() || !it["after"].is_null();
    let (shown, brief): (Vec<_>, Vec<_>) =
        resources.iter().partition(|it| !values_only && has_contents(it));
    let changes: Vec<_> = shown.into_iter().map(Change::of).collect();
    for line in difference::text(&changes, output).lines() {
        push(&mut text, &format!("  {line}"));
    }
    for resource in brief {
        let short = resource["type"].as_str().unwrap_or_default();
        let short = short.rsplit(['/', '.']).next().unwrap_or_default();
        let (name, action) = (plain(&resource["name"]), plain(&resource["action"]));
        push(&mut text, &format!("  {short} {name} {action}"));
    }
    text
}

/// What is each proxy's own: its rates, and what Envoy says.
fn of_one(proxy: &Value) -> String {
    let mut text = String::new();
    let (estimate, series) = (&proxy["estimate"], &proxy["series"]);
    let mut words = Vec::new();
    if estimate.is_object() {
        let apart = if estimate["rulesNotToldApart"] == true { NOT_APART } else { "" };
        words.push(format!("{} requests/s", number(&estimate["requests"])));
        words.push(rate("spans", &estimate["spans"]) + apart);
        words.push(rate("log lines", &estimate["logLines"]));
    }
    if series.is_object() {
        words.push(format!("series {} → {}", plain(&series["before"]), plain(&series["after"])));
    }
    if !words.is_empty() {
        push(&mut text, &format!("  {}: {}", name(proxy), words.join("; ")));
    } else if proxy["connected"] != true {
        push(&mut text, &format!("  {}: not connected, so its rates are not known", name(proxy)));
    }
    let verdict = &proxy["envoy"];
    if verdict.is_object() {
        let version = plain(&verdict["version"]);
        let says = match verdict["error"].as_str() {
            None => "accepts it".to_owned(),
            Some(error) => format!("refuses it: {error}"),
        };
        push(&mut text, &format!("  {}: Envoy {version} {says}", name(proxy)));
    }
    text
}

fn rate(what: &str, step: &Value) -> String {
    if !moves(step) {
        return format!("{what} {}/s, no change", number(&step["before"]));
    }
    let most = if step["atMost"] == true { "at most " } else { "" };
    format!("{what} {}/s → {most}{}/s", number(&step["before"]), number(&step["after"]))
}

/// Whether the two figures are different ones as they are shown.
fn moves(step: &Value) -> bool {
    number(&step["before"]) != number(&step["after"])
}

fn number(value: &Value) -> String {
    let number = value.as_f64().unwrap_or_default();
    if number >= 100.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

/// The rates of all proxies together. A proxy follows what its callers decide, so those behind change with them.
fn sums(proxies: &[Value]) -> String {
    let known: Vec<_> = proxies.iter().filter(|proxy| proxy["estimate"].is_object()).collect();
    let behind = if known.iter().any(|proxy| moves(&proxy["estimate"]["spans"])) {
        "\nSpans of the proxies behind these change in proportion; they are not counted here.\n"
    } else {
        ""
    };
    let counted: Vec<_> = proxies.iter().filter(|proxy| proxy["series"].is_object()).collect();
    let series = if counted.len() < 2 {
        String::new()
    } else {
        let sum = |side: &str| -> u64 {
            counted.iter().filter_map(|proxy| proxy["series"][side].as_u64()).sum()
        };
        format!("; series {} → {}", sum("before"), sum("after"))
    };
    if known.len() < 2 {
        return behind.to_owned();
    }
    let sum = |what: &str, side: &str| -> f64 {
        known.iter().filter_map(|proxy| proxy["estimate"][what][side].as_f64()).sum()
    };
    let step = |what: &str| {
        let most = known.iter().any(|proxy| proxy["estimate"][what]["atMost"] == true);
        serde_json::json!({"before": sum(what, "before"), "after": sum(what, "after"), "atMost": most})
    };
    format!(
        "\nIn all: {}; {}{series}\n{behind}",
        rate("spans", &step("spans")),
        rate("log lines", &step("logLines"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Color;
    use serde_json::json;

    #[test]
    fn proxies_with_the_same_change_are_shown_once() {
        let proxy = |name: &str, spans: f64| {
            json!({
                "series": {"before": 120, "after": 310},
                "proxy": {"mesh": "default", "name": name}, "connected": true,
                "values": [{"kind": "MeshTrace", "path": "sampling.random",
                    "before": {"value": 100, "origin": null},
                    "after": {"value": 10, "origin": {"policy": {"kind": "MeshTrace", "mesh": "default", "name": "less"},
                        "file": "p.yaml", "place": {"line": 9, "column": 5}}}}],
                "resources": [{"type": "x/envoy.config.route.v3.RouteConfiguration", "name": "inbound:80", "action": "changed",
                    "before": {"random": 100}, "after": {"random": 10}}],
                "warnings": [], "drains": ["inbound:80"],
                "estimate": {"requests": 20.0, "spans": {"before": spans, "after": spans / 10.0, "atMost": false},
                    "rulesNotToldApart": name == "front",
                    "logLines": {"before": 0.0, "after": 0.0, "atMost": false}},
                "envoy": {"version": "1.40.0", "accepts": true, "error": null},
            })
        };
        let answer = json!({
            "changes": [{"key": {"kind": "MeshTrace", "mesh": "default", "name": "less"}, "action": "created", "warnings": []}],
            "lookedAt": 3, "proxies": [proxy("cart", 20.0), proxy("front", 120.0)],
        });
        insta::assert_snapshot!(text(&answer, false, Output::from_terminal(Color::Never)), @r#"
        MeshTrace default/less would be created

        2 of 3 proxies would change:

        default/cart, default/front
          MeshTrace sampling.random: 100 → 10
              set by MeshTrace default/less (p.yaml:9)
              instead of what is the default
          connections of inbound:80 would be asked to close, at their next response
          ~ RouteConfiguration inbound:80
            - random: 100
            + random: 10
          default/cart: 20.0 requests/s; spans 20.0/s → 2.0/s; log lines 0.0/s, no change; series 120 → 310
          default/cart: Envoy 1.40.0 accepts it
          default/front: 20.0 requests/s; spans 120/s → 12.0/s (rules are not told apart); log lines 0.0/s, no change; series 120 → 310
          default/front: Envoy 1.40.0 accepts it

        In all: spans 140/s → 14.0/s; log lines 0.0/s, no change; series 240 → 620

        Spans of the proxies behind these change in proportion; they are not counted here.
        "#);
    }
}
