//! Who may call.

use serde_json::Value;

use super::{line, origin, string};

/// What is known of a listener's callers: of one service, or of all.
pub(super) fn of_listener(listener: &Value, text: &mut String) {
    let permitted = &listener["permitted"];
    if permitted.is_null() {
        let is_inbound = string(&listener["listener"]).starts_with("inbound");
        if is_inbound {
            line(text, 2, "may come in: yes, from anyone; the mesh has no mTLS");
        }
        return;
    }
    match permitted["callers"].as_array() {
        Some(callers) => callers.iter().for_each(|caller| of_caller(caller, text)),
        None => all(permitted, text),
    }
    if permitted["withoutCertificate"] == true {
        line(text, 4, "who has no certificate of the mesh may come in, too: mTLS is permissive");
    }
}

fn of_caller(caller: &Value, text: &mut String) {
    let words = format!("{} may come in: {}", string(&caller["caller"]), word(&caller["verdict"]));
    let rule = &caller["rule"];
    if rule.is_null() {
        line(text, 2, &format!("{words}; no policy allows it"));
    } else {
        line(text, 2, &words);
        line(text, 4, &described(rule));
    }
}

fn all(permitted: &Value, text: &mut String) {
    line(text, 2, "may come in, by certificate; the first line that fits decides:");
    for rule in permitted["rules"].as_array().into_iter().flatten() {
        line(text, 4, &format!("{}: {}", word(&rule["verdict"]), described(rule)));
    }
    line(text, 4, "no: anyone else");
}

/// Whom a rule means, and who says so where.
fn described(rule: &Value) -> String {
    let by = &rule["origin"];
    format!("{}; {} at `{}`", string(&rule["clients"]), origin(by, &[]), string(&by["path"]))
}

fn word(verdict: &Value) -> &'static str {
    match string(verdict) {
        "allow" => "yes",
        "allowWithShadowDeny" => "yes, counted and logged as if not",
        _ => "no",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_may_is_said_with_the_line_that_decides() {
        let rule = |verdict: &str, clients: &str, line: u32| {
            json!({"verdict": verdict, "clients": clients, "origin": {
                "policy": {"kind": "MeshTrafficPermission", "mesh": "default", "name": "shop"},
                "file": "p.yaml", "place": {"line": line}, "path": "spec.from[0].default.action"}})
        };
        let rules = [rule("deny", "team=guests", 9), rule("allowWithShadowDeny", "anyone", 7)];
        let caller = |name: &str, rule: Option<&Value>| {
            let verdict = rule.map_or(json!("deny"), |rule| rule["verdict"].clone());
            json!({"caller": name, "verdict": verdict, "rule": rule})
        };
        let listener = |permitted: Value| json!({"listener": "inbound:80", "permitted": permitted});
        let mut text = String::new();
        of_listener(&listener(json!({"rules": rules, "callers": null})), &mut text);
        let callers = [caller("web-1", Some(&rules[1])), caller("old-1", None)];
        of_listener(&listener(json!({"callers": callers, "withoutCertificate": true})), &mut text);
        of_listener(&listener(Value::Null), &mut text);
        insta::assert_snapshot!(text, @r"
        may come in, by certificate; the first line that fits decides:
          no: team=guests; set by MeshTrafficPermission default/shop (p.yaml:9) at `spec.from[0].default.action`
          yes, counted and logged as if not: anyone; set by MeshTrafficPermission default/shop (p.yaml:7) at `spec.from[0].default.action`
          no: anyone else
        web-1 may come in: yes, counted and logged as if not
          anyone; set by MeshTrafficPermission default/shop (p.yaml:7) at `spec.from[0].default.action`
        old-1 may come in: no; no policy allows it
          who has no certificate of the mesh may come in, too: mTLS is permissive
        may come in: yes, from anyone; the mesh has no mTLS
        ");
    }
}
