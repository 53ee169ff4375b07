//! `ursa explain proxy`, and where `ursa explain request` begins.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{ProxyArgs, look};
use crate::client::{Client, ServerArgs};
use crate::command::apply::key_text;
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};

/// Show every effective value, and the policy and line that set it; or what becomes of a request.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa explain proxy frontend
  ursa explain proxy frontend --policy meshtrace --field sampling
  ursa explain proxy frontend --shadow            # as if shadow policies were applied
  ursa explain request frontend --path /healthz   # is it traced, written down, counted, and why")]
pub(crate) struct Explain {
    #[command(subcommand)]
    what: ExplainWhat,
}

#[derive(Debug, Subcommand)]
enum ExplainWhat {
    /// Every effective value of a proxy, and the policy, file and line that set it.
    #[command(
        alias = "dataplane",
        after_help = "\
Examples:
  ursa explain proxy frontend
  ursa explain proxy frontend --policy meshtrace --field sampling
  ursa explain proxy frontend --shadow            # as if shadow policies were applied"
    )]
    Proxy {
        #[command(flatten)]
        proxy: ProxyArgs,
        /// Only this kind of policy.
        #[arg(long, value_name = "KIND")]
        policy: Option<String>,
        /// Only fields that begin so, such as `sampling` or `tags`.
        #[arg(long)]
        field: Option<String>,
        /// As if the policies labelled `kuma.io/effect: shadow` were applied.
        #[arg(long)]
        shadow: bool,
    },
    Request(crate::command::request::Arguments),
}

pub(in crate::command) async fn explain(
    arguments: Explain,
    server: &ServerArgs,
    output: Output,
) -> Outcome {
    let client = Client::new(server)?;
    let (proxy, policy, field, shadow) = match arguments.what {
        ExplainWhat::Proxy { proxy, policy, field, shadow } => (proxy, policy, field, shadow),
        ExplainWhat::Request(request) => {
            return crate::command::request::run(&request, &client, output).await;
        }
    };
    let mut explained = client.get(&proxy.path("_explain"), &look(shadow)).await?;
    let wanted =
        policy.as_deref().map(crate::command::get::kind).transpose()?.map(|kind| kind.name);
    if let Some(kinds) = explained.as_array_mut() {
        kinds.retain(|kind| wanted.is_none_or(|wanted| kind["kind"] == wanted));
        for kind in kinds.iter_mut() {
            if let (Some(values), Some(field)) = (kind["values"].as_array_mut(), &field) {
                values.retain(|value| begins(value["path"].as_str().unwrap_or_default(), field));
                let is_of_context = ["propagators", "stripUnlisted"].contains(&field.as_str());
                if !is_of_context && let Some(kind) = kind.as_object_mut() {
                    kind.remove("remarks");
                }
            }
        }
        let narrowed = field.is_some();
        let lacks = |kind: &Value| kind["values"].as_array().is_some_and(Vec::is_empty);
        if let Some(field) = field.filter(|_| !kinds.is_empty() && kinds.iter().all(lacks)) {
            return Err(Failure::new(format!("no field in effect begins with `{field}`"))
                .help("without --field all are shown"));
        }
        if narrowed {
            kinds.retain(|kind| !lacks(kind));
        }
    }
    if proxy.output == Form::Table {
        output.result(&explained_text(&explained))?;
    } else {
        output.structured(proxy.output, &explained)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether `path` is `field` or lies in it.
fn begins(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn explained_text(explained: &Value) -> String {
    let mut text = String::new();
    for kind in explained.as_array().into_iter().flatten() {
        text.push_str(kind["kind"].as_str().unwrap_or_default());
        text.push('\n');
        let shadows = kind["shadows"].as_array().map(Vec::as_slice).unwrap_or_default();
        let values = kind["values"].as_array().map(Vec::as_slice).unwrap_or_default();
        if values.is_empty() {
            text.push_str("  no policy is in effect\n");
        }
        for value in values {
            let path = value["path"].as_str().unwrap_or_default();
            write!(
                text,
                "  {path} = {}\n      {}\n",
                plain(&value["value"]),
                origin(&value["origin"], shadows)
            )
            .expect("writing to a string does not fail");
            if let Some(why) = value["withoutEffect"].as_str() {
                writeln!(text, "      NOT IN EFFECT: {why}")
                    .expect("writing to a string does not fail");
            }
            for entry in value["overridden"].as_array().into_iter().flatten() {
                let origin = origin(&entry[0], shadows);
                writeln!(text, "      instead of {}, {origin}", plain(&entry[1]))
                    .expect("writing to a string does not fail");
            }
        }
        for remark in kind["remarks"].as_array().into_iter().flatten() {
            writeln!(text, "  {}", plain(remark)).expect("writing to a string does not fail");
        }
    }
    if text.is_empty() {
        text.push_str("no policy is in effect\n");
    }
    text
}

pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `set by MeshTrace default/all (policy.yaml:12)`, or that it is the default.
pub(crate) fn origin(origin: &Value, shadows: &[Value]) -> String {
    if origin.is_null() {
        return "the default".to_owned();
    }
    let shadow = if shadows.contains(&origin["policy"]) { "the shadow " } else { "" };
    let policy = format!("set by {shadow}{}", key_text(&origin["policy"]));
    let line = &origin["place"]["line"];
    match origin["file"].as_str() {
        Some(file) => format!("{policy} ({file}:{line})"),
        None => format!("{policy} (line {line})"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_names_who_set_each_value_and_what_it_replaced() {
        let by = |name: &str, line: u32| {
            json!({
            "policy": {"kind": "MeshTrace", "mesh": "default", "name": name}, "file": "p.yaml", "place": {"line": line}})
        };
        let explained = json!([{"kind": "MeshTrace", "values": [
            {"path": "sampling.overall", "value": 10, "origin": by("one", 7), "overridden": [[by("all", 3), 50]]},
            {"path": "sampling.client", "value": 100, "origin": null, "overridden": []},
            {"path": "baggage.incoming.deny", "value": ["secret"], "origin": by("all", 5), "overridden": [],
             "withoutEffect": "this Envoy is too old"}]}]);
        insta::assert_snapshot!(explained_text(&explained), @r#"
        MeshTrace
          sampling.overall = 10
              set by MeshTrace default/one (p.yaml:7)
              instead of 50, set by MeshTrace default/all (p.yaml:3)
          sampling.client = 100
              the default
          baggage.incoming.deny = ["secret"]
              set by MeshTrace default/all (p.yaml:5)
              NOT IN EFFECT: this Envoy is too old
        "#);
    }

    #[test]
    fn a_field_is_itself_and_what_lies_in_it() {
        assert!(begins("sampling.overall", "sampling"));
        assert!(begins("tags[0].name", "tags"));
        assert!(begins("tags", "tags"));
        assert!(!begins("samplings", "sampling"));
    }
}
