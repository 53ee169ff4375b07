//! `ursa telemetry`: how pipelines stand, what became of a trace's spans, whether a backend can be reached.

mod probe;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{Client, ServerArgs, web_address};
use crate::command::trace::{in_full, whole_id};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output};
use crate::paint::harmless;
use crate::telemetry::{self, Audited, Look, Place};

/// Proxies that are named where another was asked for.
const MOST_NAMES: usize = 20;

/// Look at the telemetry's way: what waits, what was delivered, what was lost and why.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa telemetry status --watch                            what waits, was delivered, was lost
  ursa telemetry audit 4bf92f3577b34da6a3ce929d0e0e4736    what became of each span of a trace
  ursa telemetry test -f backend.yaml                      can the backend be reached, and if not, why")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(Status),
    Audit(Audit),
    Test(probe::Test),
}

/// Show pipelines: for each signal and backend its state, what waits, and the ledger.
///
/// received = delivered + waiting + in flight + dropped + filtered + merged; the difference is computed where it is counted and stays 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa telemetry status                                    every proxy, asked through the control plane
  ursa telemetry status --proxy frontend -v
  ursa telemetry status --from http://127.0.0.1:5677       a gateway, or the agent beside a proxy
  ursa telemetry status --from --watch")]
struct Status {
    #[command(flatten)]
    whom: Whom,
    /// Also by receiver, and where queues lie.
    #[arg(short, long)]
    verbose: bool,
    /// Look again and again, and say how much is sent a second.
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", requires = "watch",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// Show which stage kept or dropped which span of a trace, and by which rule.
///
/// Pipelines remember a bounded number of spans; how far back is said. Exit code 1: no span of the trace is remembered.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa telemetry audit 4bf92f3577b34da6a3ce929d0e0e4736
  ursa telemetry audit 4bf92f3577b34da6a3ce929d0e0e4736 --from http://127.0.0.1:5677")]
struct Audit {
    /// The trace's id: 32 hex digits, or 16 for 64 bits. Of a trace that the control plane holds, its first digits are enough.
    trace: String,
    #[command(flatten)]
    whom: Whom,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

/// Who is asked.
#[derive(Debug, Args)]
struct Whom {
    /// Ask gateways and agents themselves instead of the control plane. May be repeated; without a URL: http://127.0.0.1:5677.
    #[arg(long, value_name = "URL", value_parser = web_address, num_args = 0..=1,
        default_missing_value = "http://127.0.0.1:5677", conflicts_with_all = ["mesh", "proxy"])]
    from: Vec<Url>,
    /// Only proxies of this mesh.
    #[arg(short, long, value_name = "NAME")]
    mesh: Option<String>,
    /// Only the proxy of this name.
    #[arg(long, value_name = "NAME")]
    proxy: Option<String>,
}

pub(super) async fn run(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    match arguments.command {
        Command::Status(arguments) => status(arguments, server, output).await,
        Command::Audit(arguments) => audit(arguments, server, output).await,
        Command::Test(arguments) => probe::run(arguments, output).await,
    }
}

async fn status(arguments: Status, server: &ServerArgs, output: Output) -> Outcome {
    let mut look = Look::default();
    let mut last: Option<Instant> = None;
    let mut ticks = interval(Duration::from_secs(arguments.interval));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let found = ask(&arguments.whom, server, "/telemetry/pipelines", "/status").await?;
        if let Some(last) = last.replace(Instant::now()) {
            look.next(last.elapsed().as_secs_f64());
        }
        match arguments.output {
            Form::Table => {
                let places = Place::list(&found);
                let text = telemetry::status(&places, &mut look, arguments.verbose, output.color);
                let again = arguments.watch && std::io::stdout().is_terminal();
                output.result(&if again { format!("\x1b[H\x1b[2J{text}") } else { text })?;
            }
            form => output.structured(form, &found)?,
        }
        if !arguments.watch {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

async fn audit(arguments: Audit, server: &ServerArgs, output: Output) -> Outcome {
    let id = trace_id(&arguments, server).await?;
    let path = |prefix: &str| format!("{prefix}/audit/{id}");
    let found = ask(&arguments.whom, server, &path("/telemetry"), &path("")).await?;
    let places = Audited::list(&found);
    let known =
        places.iter().filter_map(|place| place.audit.as_ref()).any(|audit| !audit.spans.is_empty());
    match arguments.output {
        Form::Table => output.result(&telemetry::audit(&id, &places, output.color))?,
        form => output.structured(form, &found)?,
    }
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The 32 digits of the id.
async fn trace_id(arguments: &Audit, server: &ServerArgs) -> Outcome<String> {
    let written = &arguments.trace;
    match in_full(written) {
        Some(id) => Ok(id),
        None if arguments.whom.from.is_empty() => whole_id(&Client::new(server)?, written).await,
        None => Err(Failure::unreadable(format!("`{written}` is no trace id"))
            .help("a trace id has 32 hex digits, or 16 for 64 bits")),
    }
}

/// Nobody has been asked: says who could be.
async fn nobody(whom: &Whom, client: &Client) -> Outcome<Vec<Value>> {
    let all = client.get("/telemetry/pipelines", &[]).await?;
    let all = Place::list(all.as_array().map(Vec::as_slice).unwrap_or_default());
    let known: Vec<_> = all.iter().take(MOST_NAMES).map(|place| harmless(&place.proxy)).collect();
    let message = match (&whom.proxy, &whom.mesh) {
        (Some(proxy), Some(mesh)) => format!("no proxy {proxy} of mesh {mesh} is connected"),
        (Some(proxy), None) => format!("no proxy {proxy} is connected"),
        (None, mesh) => {
            format!("no proxy of mesh {} is connected", mesh.as_deref().unwrap_or_default())
        }
    };
    let more = if all.len() > known.len() { " …" } else { "" };
    Err(Failure::new(message).help(if known.is_empty() {
        "no proxy at all is connected".to_owned()
    } else {
        format!("connected: {}{more}", known.join(", "))
    }))
}

/// What everybody says: the control plane for its proxies, or each of those that are named.
async fn ask(
    whom: &Whom,
    server: &ServerArgs,
    of_control_plane: &str,
    of_each: &str,
) -> Outcome<Vec<Value>> {
    if whom.from.is_empty() {
        let narrowed = [("mesh", &whom.mesh), ("proxy", &whom.proxy)];
        let query: Vec<_> =
            narrowed.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        let client = Client::new(server)?;
        let found = client.get(of_control_plane, &query).await?;
        let found = found.as_array().cloned().unwrap_or_default();
        return if found.is_empty() && !query.is_empty() {
            nobody(whom, &client).await
        } else {
            Ok(found)
        };
    }
    let mut asking = JoinSet::new();
    for (index, from) in whom.from.iter().enumerate() {
        let (client, path) = (Client::of_gateway(from.clone())?, of_each.to_owned());
        asking.spawn(async move { (index, client.get(&path, &[]).await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let alone = whom.from.len() == 1;
    let mut found = Vec::new();
    for ((_, answer), from) in answers.into_iter().zip(&whom.from) {
        let from = from.as_str().trim_end_matches('/');
        found.push(match answer {
            Ok(answer) if answer["telemetry"].is_object() => {
                json!({"from": from, "status": answer["telemetry"]})
            }
            Ok(answer) if answer["traceId"].is_string() => json!({"from": from, "audit": answer}),
            Ok(_) => json!({"from": from, "error": "is neither a gateway nor an agent"}),
            Err(failure) if alone => return Err(failure),
            Err(failure) => json!({"from": from, "error": failure.message()}),
        });
    }
    Ok(found)
}
