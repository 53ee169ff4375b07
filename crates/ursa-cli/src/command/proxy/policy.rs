//! `ursa inspect meshtrace` and the like: the proxies that a policy selects.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use serde_json::{Value, json};
use ursa_model::kind::Kind;
use ursa_policies::KINDS;

use crate::client::Client;
use crate::command::get::all;
use crate::failure::Outcome;
use crate::output::{Form, Output, counted, table};

#[derive(Debug, Args)]
struct PolicyArgs {
    /// The policy's name.
    name: String,
    /// The mesh.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// A policy of any kind: a subcommand for each kind that there is.
#[derive(Debug)]
pub(super) struct PolicyOfKind {
    kind: &'static Kind,
    policy: PolicyArgs,
}

impl PolicyOfKind {
    /// Shows the proxies of the policy.
    pub(super) async fn inspect(&self, client: &Client, output: Output) -> Outcome<()> {
        let PolicyArgs { name, mesh, output: form } = &self.policy;
        let path = format!("/meshes/{mesh}/{}/{name}/_resources/dataplanes", self.kind.plural);
        let proxies = all(client, &path).await?;
        match form {
            Form::Table => output.result(&text(&proxies)),
            form => output.structured(*form, &json!({"total": proxies.len(), "items": proxies})),
        }
    }
}

fn kinds() -> impl Iterator<Item = (String, &'static Kind)> {
    KINDS.iter().map(|policy| (policy.kind.name.to_lowercase(), &policy.kind))
}

impl Subcommand for PolicyOfKind {
    fn augment_subcommands(command: Command) -> Command {
        kinds().fold(command, |command, (own, kind)| {
            let about =
                format!("The proxies that a {} selects, and what of it they cannot do", kind.name);
            let policy = Command::new(own).about(about).alias(kind.plural).aliases(kind.short);
            command.subcommand(PolicyArgs::augment_args(policy))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        kinds().any(|(own, _)| own == name)
    }
}

impl FromArgMatches for PolicyOfKind {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let said = matches
            .subcommand()
            .and_then(|(name, matches)| Some((kinds().find(|(own, _)| own == name)?.1, matches)));
        let (kind, matches) = said.ok_or(clap::Error::new(ErrorKind::MissingSubcommand))?;
        Ok(Self { kind, policy: PolicyArgs::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn text(proxies: &[Value]) -> String {
    if proxies.is_empty() {
        return "it selects no proxy".to_owned();
    }
    let rows: Vec<_> = proxies.iter().map(row).collect();
    table(&["NAME", "SERVICE", "CONNECTED", "ENVOY", "WARNINGS"], &rows)
}

fn row(proxy: &Value) -> [String; 5] {
    let text = |field: &str| proxy[field].as_str().unwrap_or("-").to_owned();
    let connected = if proxy["connected"] == true { "yes" } else { "no" };
    [text("name"), text("service"), connected.to_owned(), text("envoyVersion"), warnings(proxy)]
}

/// What of the policy the proxy cannot do, and why; else how much else there is to know.
fn warnings(proxy: &Value) -> String {
    let lacks = proxy["lacks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |lack: &Value, field: &str| lack[field].as_str().unwrap_or_default().to_owned();
    let words: Vec<_> = lacks
        .iter()
        .map(|lack| format!("{}: {}", part(lack, "words"), part(lack, "why")))
        .collect();
    if !words.is_empty() {
        return words.join("; ");
    }
    match proxy["warnings"].as_array().map_or(0, Vec::len) {
        0 => "-".to_owned(),
        others => counted(others as u64, "warning"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_that_cannot_do_all_of_it_say_what_and_why() {
        let proxy = |name: &str, envoy: Value, lacks: Value, warnings: Value| {
            json!({
                "type": "Dataplane", "mesh": "default", "name": name, "service": name, "connected": !envoy.is_null(),
                "envoyVersion": envoy, "lacks": lacks, "warnings": warnings,
            })
        };
        let lack = json!([{"words": "`datadog` neither read nor written",
            "why": "the module is for Envoy 1.40, and this is 1.36.4"}]);
        let proxies = [
            proxy("cart", json!("1.40.0"), json!([]), json!([])),
            proxy("old", json!("1.36.4"), lack, json!(["at length"])),
            proxy("web", Value::Null, json!([]), json!(["another"])),
        ];
        insta::assert_snapshot!(text(&proxies), @r"
        NAME  SERVICE  CONNECTED  ENVOY   WARNINGS
        cart  cart     yes        1.40.0  -
        old   old      yes        1.36.4  `datadog` neither read nor written: the module is for Envoy 1.40, and this is 1.36.4
        web   web      no         -       1 warning
        ");
        assert_eq!(text(&[]), "it selects no proxy");
    }
}
