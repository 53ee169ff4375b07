//! `ursa inspect proxy`, `ursa inspect proxies`, and where `ursa inspect meshtrace` and the like begin.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use ursa_model::Authority;

use super::policy::PolicyOfKind;
use super::{ProxyArgs, State, look, state};
use crate::client::{Client, ServerArgs};
use crate::command::apply::key_text;
use crate::command::get::all;
use crate::failure::Outcome;
use crate::output::{Form, Output, counted, table};

/// Show a proxy's state and the policies in effect, or the proxies of a policy.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa inspect proxy frontend
  ursa inspect proxies
  ursa inspect meshtrace all          # the proxies that it selects, and what of it they cannot do")]
pub(crate) struct Inspect {
    #[command(subcommand)]
    what: InspectWhat,
}

#[derive(Debug, Subcommand)]
enum InspectWhat {
    /// One proxy: connection, acknowledgements, policies in effect.
    #[command(alias = "dataplane")]
    Proxy(ProxyArgs),
    /// All proxies, a line each.
    #[command(alias = "dataplanes")]
    Proxies {
        /// The form of the result.
        #[arg(short, long, value_enum, default_value_t)]
        output: Form,
    },
    #[command(flatten)]
    Policy(PolicyOfKind),
}

pub(in crate::command) async fn inspect(
    arguments: Inspect,
    server: &ServerArgs,
    output: Output,
) -> Outcome {
    let client = Client::new(server)?;
    match arguments.what {
        InspectWhat::Proxy(proxy) => {
            let overview = client.get(&proxy.path("_overview"), &[]).await?;
            let policies = client.get(&proxy.path("_policies"), &[]).await?;
            let shadows = client.get(&proxy.path("_policies"), &look(true)).await?;
            let shadows = shadows_of(&shadows);
            let agent = agent_status(&client, &proxy, &overview).await?;
            if proxy.output == Form::Table {
                output.result(&overview_text(&overview, &agent, &policies, &shadows))?;
            } else {
                let shown = json!({"overview": overview, "resourceAttributes": agent["resourceAttributes"], "agentWarnings": agent["warnings"], "policies": policies, "shadows": shadows});
                output.structured(proxy.output, &shown)?;
            }
        }
        InspectWhat::Proxies { output: form } => {
            let mut list = all(&client, "/dataplanes+insights").await?;
            let agents = agents_warnings(&client).await?;
            for overview in &mut list {
                overview["agentWarnings"] = agents.get(&id(overview)).cloned().unwrap_or(json!([]));
            }
            if form == Form::Table {
                let rows: Vec<_> = list.iter().map(proxy_row).collect();
                output.result(&if rows.is_empty() {
                    "no proxies found; each needs a Dataplane, see `ursa apply`".to_owned()
                } else {
                    table(&["MESH", "NAME", "SERVICE", "CONNECTED", "CONFIG", "ENVOY"], &rows)
                })?;
            } else {
                output.structured(form, &json!({"total": list.len(), "items": list}))?;
            }
        }
        InspectWhat::Policy(policy) => policy.inspect(&client, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the agent beside a proxy says of its pipeline; null while it is away.
async fn agent_status(client: &Client, proxy: &ProxyArgs, overview: &Value) -> Outcome<Value> {
    if overview["connected"] != true {
        return Ok(Value::Null);
    }
    let narrow = [("mesh", proxy.mesh.clone()), ("proxy", proxy.name.clone())];
    let asked = client.get("/telemetry/pipelines", &narrow).await?;
    Ok(asked[0]["status"].clone())
}

/// What agents say of their pipelines, by `MESH/NAME`; those that do not answer are left out.
async fn agents_warnings(client: &Client) -> Outcome<BTreeMap<String, Value>> {
    let asked = client.get("/telemetry/pipelines", &[]).await?;
    let answers = asked.as_array().into_iter().flatten();
    let of_one = |answer: &Value| {
        let warnings = answer["status"]["warnings"].clone();
        Some((answer["proxy"].as_str()?.to_owned(), warnings)).filter(|(_, it)| it.is_array())
    };
    Ok(answers.filter_map(of_one).collect())
}

/// `MESH/NAME`.
fn id(overview: &Value) -> String {
    let part = |field: &str| overview["proxy"][field].as_str().unwrap_or_default();
    format!("{}/{}", part("mesh"), part("name"))
}

fn proxy_row(overview: &Value) -> [String; 6] {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let config = match state(overview) {
        State::Rejected => "rejected",
        State::Pending => "pending",
        State::Acknowledged => "acknowledged",
        State::Nothing => "-",
    };
    let warnings = ["warnings", "agentWarnings"].into_iter();
    let warnings = warnings.filter_map(|whose| Some(overview[whose].as_array()?.len()));
    let config = match warnings.sum::<usize>() {
        0 => config.to_owned(),
        count => format!("{config}, {}", counted(count as u64, "warning")),
    };
    [
        text(&overview["proxy"]["mesh"]),
        text(&overview["proxy"]["name"]),
        text(&overview["service"]),
        if overview["connected"] == true { "yes" } else { "no" }.to_owned(),
        config,
        text(&overview["envoyVersion"]),
    ]
}

/// The shadow policies that select a proxy.
fn shadows_of(policies: &Value) -> Vec<Value> {
    let kinds = policies.as_array().into_iter().flatten();
    kinds.flat_map(|kind| kind["shadows"].as_array().cloned().unwrap_or_default()).collect()
}

fn overview_text(overview: &Value, agent: &Value, policies: &Value, shadows: &[Value]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<14}{value}").expect("writing to a string does not fail");
    };
    let string = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    line(
        "Proxy:",
        format!("{}/{}", string(&overview["proxy"]["mesh"]), string(&overview["proxy"]["name"])),
    );
    line("Service:", string(&overview["service"]));
    line(
        "Connected:",
        if overview["connected"] == true {
            format!(
                "for {} (agent {}, Envoy {})",
                crate::command::get::since(&overview["since"]),
                string(&overview["agentVersion"]),
                string(&overview["envoyVersion"])
            )
        } else {
            format!("no; is `ursa dp --name {}` running?", string(&overview["proxy"]["name"]))
        },
    );
    for (name, state) in overview["types"].as_object().into_iter().flatten() {
        let status = match &state["nack"] {
            Value::Null if state["sent"] == state["acked"] => "acknowledged".to_owned(),
            Value::Null => "sent, not acknowledged yet".to_owned(),
            nack => format!(
                "rejected: {}",
                nack["error"].as_str().or(nack["message"].as_str()).unwrap_or("-")
            ),
        };
        line(&format!("  {name}:"), status);
    }
    if let Some(context) = overview["traceContext"]["words"].as_str() {
        line("Context:", context.to_owned());
    }
    for (index, row) in certificate(&overview["certificate"]).into_iter().enumerate() {
        line(if index == 0 { "Certificate:" } else { "" }, row);
    }
    for (index, way) in overview["metrics"].as_array().into_iter().flatten().enumerate() {
        line(if index == 0 { "Metrics:" } else { "" }, metrics(way));
    }
    let warnings = [&overview["warnings"], &agent["warnings"]].into_iter();
    for warning in warnings.filter_map(Value::as_array).flatten() {
        line("Warning:", string(warning));
    }
    for (index, (name, value)) in
        agent["resourceAttributes"].as_object().into_iter().flatten().enumerate()
    {
        let title = if index == 0 { "Resource:" } else { "" };
        line(title, format!("{name}={}", string(value)));
    }
    let insight = &overview["dataplaneInsight"]["openTelemetry"];
    for backend in insight["backends"].as_array().into_iter().flatten() {
        line("Backend:", format!("{}: {}", string(&backend["name"]), backend_state(backend)));
    }
    text.push('\n');
    let kinds = policies.as_array().map(Vec::as_slice).unwrap_or_default();
    if kinds.is_empty() {
        text.push_str("No policy is in effect.\n");
    }
    for kind in kinds {
        let from: Vec<_> =
            kind["policies"].as_array().into_iter().flatten().map(key_text).collect();
        writeln!(text, "{} (weakest first: {})", string(&kind["kind"]), from.join(", "))
            .expect("writing to a string does not fail");
        for row in ursa_model::document::to_yaml(&kind["conf"]).lines() {
            writeln!(text, "  {row}").expect("writing to a string does not fail");
        }
    }
    if !shadows.is_empty() {
        let names: Vec<_> = shadows.iter().map(key_text).collect();
        writeln!(
            text,
            "\nShadows, not applied: {}\n  what they would change: ursa config proxy {} --shadow --diff",
            names.join(", "),
            string(&overview["proxy"]["name"])
        )
        .expect("writing to a string does not fail");
    }
    text
}

/// What a proxy's certificate says, a row each.
fn certificate(certificate: &Value) -> Vec<String> {
    let text = |field: &str| certificate[field].as_str().unwrap_or("-");
    if certificate.is_null() {
        return Vec::new();
    }
    let serving = if certificate["serving"] == true { "" } else { ", not in use yet" };
    let (backend, issuer) = (text("issuedBackend"), text("issuer"));
    let end = text("certificateExpirationTime");
    let mut rows = vec![format!("until {end}, by {backend} ({issuer}){serving}")];
    let names = certificate["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    rows.extend(names.map(str::to_owned));
    rows
}

/// `traces ready; logs blocked: x-key: ${KEY} is not set`.
pub(in crate::command) fn backend_state(backend: &Value) -> String {
    let state = |of: &Value| {
        let words = |field: &str| {
            of[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let why = words("blockedReasons").into_iter().chain(of["lastError"].as_str());
        let why: Vec<_> = why.collect();
        let state = of["state"].as_str().unwrap_or("-");
        if why.is_empty() { state.to_owned() } else { format!("{state}: {}", why.join("; ")) }
    };
    if !backend["state"].is_null() {
        return state(backend);
    }
    let enabled =
        ["traces", "metrics", "logs"].into_iter().filter(|name| backend[name]["enabled"] == true);
    let states: Vec<_> = enabled.map(|name| format!("{name} {}", state(&backend[name]))).collect();
    states.join("; ")
}

/// A way on which metrics leave.
fn metrics(way: &Value) -> String {
    let name = way["name"].as_str().unwrap_or("-");
    let profile = way["selection"]["profile"].as_str().unwrap_or("-");
    let push = &way["to"]["push"];
    if let Some(interval) = push["intervalMs"].as_u64() {
        return format!("{profile}, sent every {} s to {name}", interval as f64 / 1000.0);
    }
    let endpoint = &way["to"]["prometheus"];
    let scheme = if endpoint["tls"] == "Disabled" { "http" } else { "https" };
    let port = endpoint["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    let host = endpoint["address"].as_str().unwrap_or("*");
    let authority = Authority { host, port: port.unwrap_or_default() };
    let path = endpoint["path"].as_str().unwrap_or_default();
    format!("{profile}, at {scheme}://{authority}{path} for {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_whoever_they_are_of() {
        let row = |warnings: usize, of_agent: usize| {
            let list = |count: usize| vec!["w"; count];
            let proxy = json!({"mesh": "default", "name": "cart"});
            proxy_row(
                &json!({"proxy": proxy, "warnings": list(warnings), "agentWarnings": list(of_agent)}),
            )
        };
        let shown =
            [(0, 0), (0, 1), (2, 1)].map(|(warnings, of_agent)| row(warnings, of_agent)[4].clone());
        assert_eq!(shown, ["-", "-, 1 warning", "-, 3 warnings"]);
    }

    #[test]
    fn a_certificate_says_until_when_by_whom_and_for_which_names() {
        let mut shown = json!({
            "issuedBackend": "ca-1", "issuer": "CN=root", "serving": true, "names": ["spiffe://default/web"],
            "certificateExpirationTime": "2026-11-23T06:00:00Z",
        });
        let first = "until 2026-11-23T06:00:00Z, by ca-1 (CN=root)";
        assert_eq!(certificate(&shown), [first, "spiffe://default/web"]);
        shown["serving"] = false.into();
        assert_eq!(certificate(&shown)[0], format!("{first}, not in use yet"));
        assert!(certificate(&Value::Null).is_empty());
    }

    #[test]
    fn each_way_on_which_metrics_leave_is_a_line() {
        let way = |name: &str, profile: &str, to: Value| {
            metrics(&json!({"name": name, "selection": {"profile": profile}, "to": to}))
        };
        let endpoint =
            json!({"address": "fd00::1", "port": 5670, "path": "/metrics", "tls": "ProvidedTLS"});
        assert_eq!(
            way("default-backend", "Basic", json!({"prometheus": endpoint})),
            "Basic, at https://[fd00::1]:5670/metrics for default-backend"
        );
        let push = json!({"push": {"intervalMs": 1500}});
        assert_eq!(way("collector", "All", push), "All, sent every 1.5 s to collector");
    }
}
