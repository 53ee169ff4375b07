//! `ursa get`.

use std::process::ExitCode;

use clap::Args;
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use ursa_model::document::{EFFECT_LABEL, SHADOW};
use ursa_model::kind::{Kind, Scope};
use ursa_model::suggest;

use crate::client::{Client, ServerArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{Form, Output, table};

/// Show resources.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ursa get meshtraces
  ursa get meshtrace all -o yaml
  ursa get meshtraces -o yaml > meshtraces.yaml     # can be applied again
  ursa get dataplanes --mesh demo
  ursa get dataplane-insight frontend -o yaml       # how its backends do, signal by signal")]
pub(crate) struct Arguments {
    /// The kind: MeshTrace, meshtraces or mt.
    kind: String,
    /// One resource's name.
    name: Option<String>,
    /// The mesh.
    #[arg(short, long, default_value = "default")]
    mesh: String,
    /// All meshes.
    #[arg(short = 'A', long, conflicts_with_all = ["mesh", "name"])]
    all_meshes: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(arguments: Arguments, server: &ServerArgs, output: Output) -> Outcome {
    if INSIGHT.contains(&arguments.kind.to_ascii_lowercase().as_str()) {
        return insights(&arguments, &Client::new(server)?, output).await;
    }
    let kind = kind(&arguments.kind)?;
    let client = Client::new(server)?;
    if let Some(name) = &arguments.name {
        let item = client.get(&path(kind, &arguments.mesh, Some(name)), &[]).await?;
        if arguments.output == Form::Table {
            output.result(&rows(kind, std::slice::from_ref(&item), false))?;
        } else {
            output.structured(arguments.output, &item)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let path = if arguments.all_meshes {
        format!("/{}", kind.plural)
    } else {
        path(kind, &arguments.mesh, None)
    };
    let items = all(&client, &path).await?;
    if arguments.output == Form::Table {
        let text = if items.is_empty() {
            format!("no {} found", kind.plural)
        } else {
            rows(kind, &items, arguments.all_meshes)
        };
        output.result(&text)?;
    } else if arguments.output == Form::Yaml {
        // Documents rather than a list, so that they can be applied again.
        let documents: Vec<_> = items.iter().map(ursa_model::document::to_yaml).collect();
        output.result(&documents.join("---\n"))?;
    } else {
        output.structured(arguments.output, &json!({"total": items.len(), "items": items}))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What DataplaneInsights are called. They are no resources: the control plane makes them when asked.
const INSIGHT: [&str; 4] =
    ["dataplaneinsight", "dataplaneinsights", "dataplane-insight", "dataplane-insights"];

/// How the backends of one proxy, or of all of a mesh, do.
async fn insights(arguments: &Arguments, client: &Client, output: Output) -> Outcome {
    let list = format!("/meshes/{}/dataplane-insights", arguments.mesh);
    let items = match &arguments.name {
        Some(name) => vec![client.get(&format!("{list}/{name}"), &[]).await?],
        None => all(client, &list).await?,
    };
    if arguments.output != Form::Table {
        let one = arguments.name.as_ref().and(items.first());
        let shown = one.cloned().unwrap_or_else(|| json!({"total": items.len(), "items": items}));
        output.structured(arguments.output, &shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |item: &Value, backend: &Value| {
        let name = |of: &Value| of["name"].as_str().unwrap_or_default().to_owned();
        [name(item), name(backend), super::proxy::backend_state(backend)]
    };
    let backends = |item: &Value| item["openTelemetry"]["backends"].as_array().cloned();
    let rows: Vec<_> = items
        .iter()
        .flat_map(|item| {
            backends(item).unwrap_or_default().into_iter().map(move |it| row(item, &it))
        })
        .collect();
    output.result(&table(&["NAME", "BACKEND", "STATE"], &rows))?;
    Ok(ExitCode::SUCCESS)
}

/// Follows the pages of a list.
pub(super) async fn all(client: &Client, path: &str) -> Outcome<Vec<Value>> {
    const PAGE: usize = 500;
    let mut items = Vec::new();
    loop {
        let query = [("size", PAGE.to_string()), ("offset", items.len().to_string())];
        let page = client.get(path, &query).await?;
        let found = page["items"].as_array().cloned().unwrap_or_default();
        let last = found.is_empty() || page["next"].is_null();
        items.extend(found);
        if last {
            return Ok(items);
        }
    }
}

/// The kind that was meant, or the kinds there are.
pub(super) fn kind(text: &str) -> Outcome<&'static Kind> {
    let kinds = ursa_policies::kinds();
    kinds.by_name(text).ok_or_else(|| {
        let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
        let spellings = kinds.iter().flat_map(|kind| [kind.name, kind.plural]);
        let near = suggest::nearest(text, spellings).and_then(|name| kinds.by_name(name));
        Failure::unreadable(format!("there is no kind `{text}`")).help(match near {
            Some(kind) => format!("did you mean `{}`?", kind.name),
            None => format!("known kinds: {}", names.join(", ")),
        })
    })
}

/// The REST path of a kind's resources, or of one.
pub(super) fn path(kind: &Kind, mesh: &str, name: Option<&str>) -> String {
    let list = match kind.scope {
        Scope::Global => format!("/{}", kind.plural),
        Scope::Mesh => format!("/meshes/{mesh}/{}", kind.plural),
    };
    match name {
        Some(name) => format!("{list}/{name}"),
        None => list,
    }
}

/// Writes what a resource has in a column.
type Cell = fn(&Value) -> String;

fn rows(kind: &Kind, items: &[Value], with_mesh: bool) -> String {
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let with_mesh = with_mesh && kind.scope == Scope::Mesh;
    let middle: &[(&str, Cell)] = match kind.name {
        "Dataplane" => &[("SERVICE", service), ("ADDRESS", address)],
        _ if kind.policy => &[("TARGET", target)],
        _ => &[],
    };
    let mut middle = middle.to_vec();
    if kind.policy && items.iter().any(|item| !effect(item).is_empty()) {
        middle.push(("EFFECT", effect));
    }
    let mut header = vec!["NAME"];
    header.extend(middle.iter().map(|(head, _)| *head));
    header.push("AGE");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for item in items {
        let mut row = vec![text(item, "name")];
        row.extend(middle.iter().map(|(_, cell)| cell(item)));
        row.push(age(item));
        rows.push(row);
    }
    if with_mesh {
        header.insert(0, "MESH");
        for (row, item) in rows.iter_mut().zip(items) {
            row.insert(0, text(item, "mesh"));
        }
    }
    table(&header, &rows)
}

/// The services that a Dataplane is for.
fn service(item: &Value) -> String {
    let networking = &item["networking"];
    let inbounds = networking["inbound"].as_array().into_iter().flatten();
    let tags = inbounds.map(|inbound| &inbound["tags"]).chain([&networking["gateway"]["tags"]]);
    let mut services: Vec<_> =
        tags.filter_map(|tags| tags["kuma.io/service"].as_str().map(str::to_owned)).collect();
    services.dedup();
    services.join(",")
}

/// Where a Dataplane's proxy takes requests.
fn address(item: &Value) -> String {
    let networking = &item["networking"];
    let ports = networking["inbound"].as_array().into_iter().flatten();
    let ports: Vec<_> = ports.map(|inbound| inbound["port"].to_string()).collect();
    let address = networking["address"].as_str().unwrap_or_default();
    if ports.is_empty() { address.to_owned() } else { format!("{address}:{}", ports.join(",")) }
}

/// What a policy selects, on one line.
fn target(item: &Value) -> String {
    let target = &item["spec"]["targetRef"];
    let kind = target["kind"].as_str().unwrap_or("Mesh");
    let mut words = vec![kind.to_owned()];
    words.extend(target["name"].as_str().map(str::to_owned));
    for field in ["tags", "labels"] {
        for (name, value) in target[field].as_object().into_iter().flatten() {
            words.push(format!("{name}={}", value.as_str().unwrap_or_default()));
        }
    }
    words.join(" ")
}

/// `shadow` of a policy that is only looked at.
fn effect(item: &Value) -> String {
    let shadow = item["labels"][EFFECT_LABEL] == SHADOW;
    if shadow { SHADOW.to_owned() } else { String::new() }
}

fn age(item: &Value) -> String {
    since(&item["creationTime"])
}

/// How long ago a time was, `42s`, `5m`, `3h` or `2d`; empty for what is no time.
pub(super) fn since(time: &Value) -> String {
    time.as_str()
        .and_then(|time| time.parse::<Timestamp>().ok())
        .and_then(|created| Timestamp::now().since((Unit::Second, created)).ok())
        .map_or_else(String::new, |span| {
            let seconds = span.get_seconds();
            match seconds {
                ..120 => format!("{seconds}s"),
                120..7200 => format!("{}m", seconds / 60),
                7200..172_800 => format!("{}h", seconds / 3600),
                _ => format!("{}d", seconds / 86_400),
            }
        })
}
