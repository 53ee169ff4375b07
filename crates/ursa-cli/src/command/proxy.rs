//! `ursa inspect proxy`, `ursa explain proxy`, `ursa config proxy`: what a proxy is told, and why.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::apply::key_text;
use crate::client::{Client, ServerArgs};
use crate::difference;
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output, counted, table};

/// Show a proxy's state and the policies in effect.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa inspect proxy frontend
  ursa inspect proxies")]
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
}

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
    /// One proxy.
    #[command(alias = "dataplane")]
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
    Request(super::request::Arguments),
}

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
    /// One proxy.
    #[command(alias = "dataplane")]
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

#[derive(Debug, Args)]
pub(super) struct ProxyArgs {
    /// The Dataplane's name.
    name: String,
    /// The mesh.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Form,
}

impl ProxyArgs {
    pub(super) fn path(&self, page: &str) -> String {
        format!("/meshes/{}/dataplanes/{}/{page}", self.mesh, self.name)
    }
}

pub(super) async fn inspect(arguments: Inspect, server: &ServerArgs, output: Output) -> Outcome {
    let client = Client::new(server)?;
    match arguments.what {
        InspectWhat::Proxy(proxy) => {
            let overview = client.get(&proxy.path("_overview"), &[]).await?;
            let policies = client.get(&proxy.path("_policies"), &[]).await?;
            let shadows = client.get(&proxy.path("_policies"), &look(true)).await?;
            let shadows = shadows_of(&shadows);
            let resource = resource_attributes(&client, &proxy, &overview).await?;
            if proxy.output == Form::Table {
                output.result(&overview_text(&overview, &resource, &policies, &shadows))?;
            } else {
                let shown = json!({"overview": overview, "resourceAttributes": resource, "policies": policies, "shadows": shadows});
                output.structured(proxy.output, &shown)?;
            }
        }
        InspectWhat::Proxies { output: form } => {
            let list = client.get("/dataplanes+insights", &[]).await?;
            if form == Form::Table {
                let rows: Vec<_> =
                    list["items"].as_array().into_iter().flatten().map(proxy_row).collect();
                output.result(&if rows.is_empty() {
                    "no proxies found; each needs a Dataplane, see `ursa apply`".to_owned()
                } else {
                    table(&["MESH", "NAME", "SERVICE", "CONNECTED", "CONFIG", "ENVOY"], &rows)
                })?;
            } else {
                output.structured(form, &list)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the agent beside a proxy puts on resources before policies say more; null while it is away.
async fn resource_attributes(
    client: &Client,
    proxy: &ProxyArgs,
    overview: &Value,
) -> Outcome<Value> {
    if overview["connected"] != true {
        return Ok(Value::Null);
    }
    let narrow = [("mesh", proxy.mesh.clone()), ("proxy", proxy.name.clone())];
    let asked = client.get("/telemetry/pipelines", &narrow).await?;
    Ok(asked[0]["status"]["resourceAttributes"].clone())
}

fn proxy_row(overview: &Value) -> [String; 6] {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let config = match state(overview) {
        State::Rejected => "rejected",
        State::Pending => "pending",
        State::Acknowledged => "acknowledged",
        State::Nothing => "-",
    };
    let config = match overview["warnings"].as_array().map_or(0, Vec::len) {
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

/// How far a proxy is with what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It was sent nothing.
    Nothing,
    /// Something is not acknowledged.
    Pending,
    /// Something was refused.
    Rejected,
    /// Everything is acknowledged.
    Acknowledged,
}

/// Reads the state from a proxy's overview.
pub(crate) fn state(overview: &Value) -> State {
    let Some(types) = overview["types"].as_object().filter(|types| !types.is_empty()) else {
        return State::Nothing;
    };
    if types.values().any(|t| !t["nack"].is_null()) {
        State::Rejected
    } else if types.values().all(|t| t["sent"] == t["acked"]) {
        State::Acknowledged
    } else {
        State::Pending
    }
}

/// The shadow policies that select a proxy.
fn shadows_of(policies: &Value) -> Vec<Value> {
    let kinds = policies.as_array().into_iter().flatten();
    kinds.flat_map(|kind| kind["shadows"].as_array().cloned().unwrap_or_default()).collect()
}

fn overview_text(
    overview: &Value,
    resource: &Value,
    policies: &Value,
    shadows: &[Value],
) -> String {
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
                super::get::since(&overview["since"]),
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
    for (index, way) in overview["metrics"].as_array().into_iter().flatten().enumerate() {
        line(if index == 0 { "Metrics:" } else { "" }, metrics(way));
    }
    for warning in overview["warnings"].as_array().into_iter().flatten() {
        line("Warning:", string(warning));
    }
    for (index, (name, value)) in resource.as_object().into_iter().flatten().enumerate() {
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

/// `traces ready; logs blocked: x-key: ${KEY} is not set`.
pub(super) fn backend_state(backend: &Value) -> String {
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
    let host = match endpoint["address"].as_str().unwrap_or("*") {
        address if address.contains(':') => format!("[{address}]"),
        address => address.to_owned(),
    };
    let (port, path) = (&endpoint["port"], endpoint["path"].as_str().unwrap_or_default());
    format!("{profile}, at {scheme}://{host}:{port}{path} for {name}")
}

pub(super) async fn explain(arguments: Explain, server: &ServerArgs, output: Output) -> Outcome {
    let client = Client::new(server)?;
    let (proxy, policy, field, shadow) = match arguments.what {
        ExplainWhat::Proxy { proxy, policy, field, shadow } => (proxy, policy, field, shadow),
        ExplainWhat::Request(request) => {
            return super::request::run(&request, &client, output).await;
        }
    };
    let mut explained = client.get(&proxy.path("_explain"), &look(shadow)).await?;
    let wanted = policy.as_deref().map(super::get::kind).transpose()?.map(|kind| kind.name);
    if let Some(kinds) = explained.as_array_mut() {
        kinds.retain(|kind| wanted.is_none_or(|wanted| kind["kind"] == wanted));
        for kind in kinds.iter_mut() {
            if let (Some(values), Some(field)) = (kind["values"].as_array_mut(), &field) {
                values.retain(|value| begins(value["path"].as_str().unwrap_or_default(), field));
            }
        }
        let lacks = |kind: &Value| kind["values"].as_array().is_some_and(Vec::is_empty);
        if let Some(field) = field.filter(|_| !kinds.is_empty() && kinds.iter().all(lacks)) {
            return Err(Failure::new(format!("no field in effect begins with `{field}`"))
                .help("without --field all are shown"));
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
        for value in kind["values"].as_array().into_iter().flatten() {
            let path = value["path"].as_str().unwrap_or_default();
            write!(
                text,
                "  {path} = {}\n      {}\n",
                plain(&value["value"]),
                origin(&value["origin"], shadows)
            )
            .expect("writing to a string does not fail");
            for entry in value["overridden"].as_array().into_iter().flatten() {
                let origin = origin(&entry[0], shadows);
                writeln!(text, "      instead of {}, {origin}", plain(&entry[1]))
                    .expect("writing to a string does not fail");
            }
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

pub(super) async fn config(arguments: Config, server: &ServerArgs, output: Output) -> Outcome {
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

/// The query by which a proxy is looked at.
fn look(shadow: bool) -> Vec<(&'static str, String)> {
    if shadow { vec![("shadow", "true".to_owned())] } else { Vec::new() }
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn an_explanation_names_who_set_each_value_and_what_it_replaced() {
        let by = |name: &str, line: u32| {
            json!({
            "policy": {"kind": "MeshTrace", "mesh": "default", "name": name}, "file": "p.yaml", "place": {"line": line}})
        };
        let explained = json!([{"kind": "MeshTrace", "values": [
            {"path": "sampling.overall", "value": 10, "origin": by("one", 7), "overridden": [[by("all", 3), 50]]},
            {"path": "sampling.client", "value": 100, "origin": null, "overridden": []}]}]);
        insta::assert_snapshot!(explained_text(&explained), @r"
        MeshTrace
          sampling.overall = 10
              set by MeshTrace default/one (p.yaml:7)
              instead of 50, set by MeshTrace default/all (p.yaml:3)
          sampling.client = 100
              the default
        ");
    }

    #[test]
    fn a_field_is_itself_and_what_lies_in_it() {
        assert!(begins("sampling.overall", "sampling"));
        assert!(begins("tags[0].name", "tags"));
        assert!(begins("tags", "tags"));
        assert!(!begins("samplings", "sampling"));
    }

    #[test]
    fn a_proxy_is_as_far_as_its_slowest_type() {
        let of = |types: Value| state(&json!({ "types": types }));
        assert_eq!(of(json!({})), State::Nothing);
        assert_eq!(
            of(json!({"lds": {"sent": "2", "acked": "2", "nack": null}})),
            State::Acknowledged
        );
        assert_eq!(of(json!({"lds": {"sent": "2", "acked": "1", "nack": null}})), State::Pending);
        assert_eq!(
            of(json!({"lds": {"sent": "2", "acked": "1", "nack": {"error": "no"}}})),
            State::Rejected
        );
    }
}
