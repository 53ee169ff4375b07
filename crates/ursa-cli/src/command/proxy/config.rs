//! `ursa config proxy`.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{ProxyArgs, look};
use crate::client::{Client, ServerArgs};
use crate::difference;
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};

/// Show the Envoy resources generated for a proxy and what it acknowledged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa config proxy frontend
  ursa config proxy frontend --type rds -o yaml
  ursa config proxy frontend --shadow --diff      # what shadow policies would change")]
pub(crate) struct Config {
    #[command(subcommand)]
    what: ConfigWhat,
}

#[derive(Debug, Subcommand)]
enum ConfigWhat {
    /// What is generated for a proxy, and what it acknowledged.
    #[command(
        alias = "dataplane",
        after_help = "\
Examples:
  ursa config proxy frontend
  ursa config proxy frontend --type rds -o yaml
  ursa config proxy frontend --shadow --diff      # what shadow policies would change"
    )]
    Proxy {
        #[command(flatten)]
        proxy: ProxyArgs,
        /// Only this type: lds, rds, cds, eds, pipeline or secret.
        #[arg(long, value_name = "TYPE")]
        r#type: Option<String>,
        /// As if the policies labelled `kuma.io/effect: shadow` were applied.
        #[arg(long)]
        shadow: bool,
        /// Only how that differs from what the proxy is told.
        #[arg(long, requires = "shadow")]
        diff: bool,
    },
}

pub(in crate::command) async fn config(
    arguments: Config,
    server: &ServerArgs,
    output: Output,
) -> Outcome {
    let ConfigWhat::Proxy { proxy, r#type, shadow, diff } = arguments.what;
    let client = Client::new(server)?;
    if diff {
        return shadow_difference(&client, &proxy, r#type.as_deref(), output).await;
    }
    let mut config = client.get(&proxy.path("_config"), &look(shadow)).await?;
    if let Some(wanted) = &r#type {
        let url = type_url(wanted)?;
        for part in ["resources", "acknowledged"] {
            if let Some(types) = config[part].as_object_mut() {
                types.retain(|name, _| name == url);
            }
        }
    }
    if proxy.output == Form::Table {
        let text = config_text(&config);
        output.result(match (&r#type, text.is_empty()) {
            (Some(_), true) => "nothing of this type",
            (None, true) => "nothing: the proxy is not connected",
            _ => &text,
        })?;
    } else {
        output.structured(proxy.output, &config)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How the configuration with shadows differs from the one that holds.
async fn shadow_difference(
    client: &Client,
    proxy: &ProxyArgs,
    of_type: Option<&str>,
    output: Output,
) -> Outcome {
    let only = of_type.map(type_url).transpose()?;
    if proxy.output != Form::Table {
        let query = [("shadow", "true".to_owned()), ("include", "diff".to_owned())];
        let config = client.get(&proxy.path("_config"), &query).await?;
        let mut diff = config["diff"].clone();
        if let (Some(operations), Some(url)) = (diff.as_array_mut(), only) {
            let url = format!("/{}", url.replace('/', "~1"));
            operations.retain(|it| it["path"].as_str().is_some_and(|path| path.starts_with(&url)));
        }
        output.structured(proxy.output, &diff)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = client.get(&proxy.path("_config"), &look(false)).await?;
    let then = client.get(&proxy.path("_config"), &look(true)).await?;
    let changes = difference::of_resources(&now["resources"], &then["resources"], only);
    output.result(&if changes.is_empty() {
        "shadow policies would change nothing".to_owned()
    } else {
        difference::text(&changes, output)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn type_url(short: &str) -> Outcome<&'static str> {
    use ursa_envoy::resources::{CDS, EDS, LDS, PIPELINE, RDS, SECRET};
    Ok(match short.to_ascii_lowercase().as_str() {
        "lds" | "listener" | "listeners" => LDS,
        "rds" | "route" | "routes" => RDS,
        "cds" | "cluster" | "clusters" => CDS,
        "eds" | "endpoint" | "endpoints" => EDS,
        "pipeline" => PIPELINE,
        "secret" | "secrets" => SECRET,
        _ => {
            return Err(Failure::unreadable(format!("there is no type `{short}`"))
                .help("one of lds, rds, cds, eds, pipeline, secret"));
        }
    })
}

fn config_text(config: &Value) -> String {
    let mut text = String::new();
    for (url, resources) in config["resources"].as_object().into_iter().flatten() {
        for (name, resource) in resources.as_object().into_iter().flatten() {
            let acknowledged = config["acknowledged"][url][name] == resource["version"];
            let state = if acknowledged { "acknowledged" } else { "not acknowledged" };
            let short = url.rsplit(['/', '.']).next().unwrap_or(url);
            writeln!(
                text,
                "# {short} {name}: {state}, version {}",
                resource["version"].as_str().unwrap_or("-")
            )
            .expect("writing to a string does not fail");
            text.push_str(&ursa_model::document::to_yaml(&resource["body"]));
            text.push_str("\n---\n");
        }
    }
    for nack in config["nacks"].as_array().into_iter().flatten() {
        writeln!(text, "# rejected: {nack}").expect("writing to a string does not fail");
    }
    text
}
