//! `ursa traces` and `ursa trace`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;
use ursa_model::duration::Duration;

use crate::client::{Client, ServerArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::traces;

/// The form of traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    #[default]
    Table,
    Json,
    Yaml,
    Otlp,
}

/// List recent traces, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa traces --service payments --errors
  ursa traces --min-duration 250ms --limit 5
  ursa traces --tag http.response.status_code=503 --output json")]
pub(crate) struct List {
    /// Only traces with a span of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only traces that took at least this long, such as 250ms.
    #[arg(long, value_name = "DURATION")]
    min_duration: Option<Duration>,
    /// Only traces with an error.
    #[arg(long)]
    errors: bool,
    /// Only traces with a span of this attribute, as key=value. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<String>,
    /// How many, at most 1000.
    #[arg(long, default_value_t = 20, value_name = "N", allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// The form of the result; otlp is OTLP's JSON encoding (TracesData), for other tools.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

fn tag(text: &str) -> Result<String, &'static str> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("a tag is written key=value, as in http.response.status_code=503"),
    }
}

/// Draw one trace as a waterfall.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa trace 4bf92f3577b3
  ursa trace 4bf92f3577b34da6a3ce929d0e0e4736 --output otlp > trace.json")]
pub(crate) struct Show {
    /// The trace's id, in hex. Its first digits are enough where only one trace begins so.
    id: String,
    /// The form of the result; otlp is OTLP's JSON encoding (TracesData), for other tools.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn list(arguments: List, server: &ServerArgs, output: Output) -> Outcome {
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.service.map(|service| ("service", service)));
    query.extend(arguments.min_duration.map(|duration| ("minDuration", duration.to_string())));
    if arguments.errors {
        query.push(("errors", "true".to_owned()));
    }
    query.extend(arguments.tag.into_iter().map(|tag| ("tag", tag)));
    let client = Client::new(server)?;
    let found = client.get("/telemetry/traces", &query).await?;
    match arguments.output {
        Form::Table
            if query.len() == 1 && found["traces"].as_array().is_some_and(Vec::is_empty) =>
        {
            output.result("no traces yet; one arrives a second or two after its request")?;
        }
        Form::Table => output.result(&traces::list(&found, output.color))?,
        Form::Json => output.structured(output::Form::Json, &found)?,
        Form::Yaml => output.structured(output::Form::Yaml, &found)?,
        Form::Otlp => {
            let mut spans = Vec::new();
            for trace in found["traces"].as_array().into_iter().flatten() {
                let mut data = otlp(&client, trace["traceId"].as_str().unwrap_or_default()).await?;
                if let Some(found) = data["resourceSpans"].as_array_mut() {
                    spans.append(found);
                }
            }
            output
                .structured(output::Form::Json, &serde_json::json!({ "resourceSpans": spans }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(arguments: Show, server: &ServerArgs, output: Output) -> Outcome {
    let client = Client::new(server)?;
    let id = whole_id(&client, &arguments.id).await?;
    match arguments.output {
        Form::Otlp => output.structured(output::Form::Json, &otlp(&client, &id).await?)?,
        form => {
            let trace = client.get(&format!("/telemetry/traces/{id}"), &[]).await?;
            match form {
                Form::Yaml => output.structured(output::Form::Yaml, &trace)?,
                Form::Json => output.structured(output::Form::Json, &trace)?,
                Form::Table | Form::Otlp => {
                    output.result(&traces::waterfall(
                        &trace,
                        output::terminal_size().0,
                        output.color,
                    ))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn otlp(client: &Client, id: &str) -> Outcome<Value> {
    client.get(&format!("/telemetry/traces/{id}"), &[("format", "otlp".to_owned())]).await
}

/// The 32 digits of an id that is written with all of them, or with the 16 of 64 bits.
pub(super) fn in_full(id: &str) -> Option<String> {
    let is_hex = id.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_whole = is_hex && matches!(id.len(), 16 | 32);
    is_whole.then(|| format!("{:0>32}", id.to_ascii_lowercase()))
}

/// Completes the first digits of an id among the recent traces.
pub(super) async fn whole_id(client: &Client, id: &str) -> Outcome<String> {
    const WHOLE: usize = 32;
    if id.is_empty() || id.len() > WHOLE || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Failure::unreadable(format!("`{id}` is no trace id"))
            .help("a trace id has up to 32 hex digits; `ursa traces` lists recent ones"));
    }
    let id = id.to_ascii_lowercase();
    if id.len() == WHOLE {
        return Ok(id);
    }
    let recent = client.get("/telemetry/traces", &[("limit", "1000".to_owned())]).await?;
    let mut matching = recent["traces"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|trace| trace["traceId"].as_str())
        .filter(|whole| whole.starts_with(&id) || traces::in_short(whole).starts_with(&id));
    match (matching.next(), matching.next()) {
        (Some(only), None) => Ok(only.to_owned()),
        (Some(_), Some(_)) => {
            Err(Failure::new(format!("several traces begin with {id}")).help("give more digits"))
        }
        (None, _) => Err(Failure::new(format!("no recent trace begins with {id}"))
            .help("`ursa traces` lists the traces that are held")),
    }
}
