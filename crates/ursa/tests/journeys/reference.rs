//! The reference pages of `docs/reference` are made from the types' own doc comments. A stale page is rewritten, and
//! the test fails once, so that the new one gets read and committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use ursa_metrics::kuma::ALIASES;
use ursa_metrics::{BYTES_BUCKETS, Metric, SECONDS_BUCKETS, control, pipeline};
use ursa_model::kind::Kind;

#[test]
fn the_reference_pages_are_up_to_date() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let kinds = ursa_policies::kinds();
    let mut pages = BTreeMap::from([("resources.md".to_owned(), "# Resources\n".to_owned())]);
    for kind in kinds.iter() {
        if kind.policy {
            pages.insert(file_name(kind.name), page(kind, 1));
        } else if let Some(resources) = pages.get_mut("resources.md") {
            resources.push('\n');
            resources.push_str(&page(kind, 2));
        }
    }
    pages.insert("gateway.md".to_owned(), gateway());
    pages.insert("tracing-file.md".to_owned(), tracing_file());
    pages.insert("control-plane-metrics.md".to_owned(), control_plane_metrics());
    let mut stale = Vec::new();
    for (name, text) in pages {
        let path = folder.join(&name);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, text).unwrap();
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "docs/reference was stale and has been rewritten, read and commit it: {stale:?}"
    );
}

/// `MeshTrace` → `mesh-trace.md`, `MeshHTTPRoute` → `mesh-http-route.md`.
fn file_name(kind: &str) -> String {
    let letters: Vec<char> = kind.chars().collect();
    let is_small =
        |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|it| it.is_lowercase());
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let begins = is_small(at.checked_sub(1)) || is_small(Some(at + 1));
        if letter.is_uppercase() && begins && at > 0 {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name + ".md"
}

fn gateway() -> String {
    let schema = ursa_model::gateway::schema();
    let root = schema.as_value();
    let meaning = root["description"].as_str().unwrap_or_default();
    let mut text = format!(
        "# The gateway file\n\n{meaning}\n\nIt is read by `ursa gateway -f FILE`; [the guide](../gateway.md) shows how. It is one YAML or \
         JSON document without an envelope.\n\n| field | type | meaning |\n|---|---|---|\n"
    );
    rows(root, root, "", &mut Vec::new(), &mut text);
    text
}

fn tracing_file() -> String {
    let schema = ursa_model::tracing_file::schema();
    let root = schema.as_value();
    let meaning = root["description"].as_str().unwrap_or_default();
    let mut text = format!(
        "# The tracing file\n\n{meaning}\n\nIt is read by `ursa cp --tracing FILE`, once at the start; [the guide](../operating.md) shows how. \
         It is one YAML or JSON document without an envelope.\n\n| field | type | meaning |\n|---|---|---|\n"
    );
    rows(root, root, "", &mut Vec::new(), &mut text);
    text
}

fn control_plane_metrics() -> String {
    let mut text = "# Metrics of the control plane\n\nWhat `/metrics` of `ursa cp` shows, as Prometheus reads it. Every series has `zone` and \
                    `instance_id` too. Histograms of durations are in seconds, with the bounds "
        .to_owned();
    let bounds =
        |bounds: &[f64]| bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let aliases = |metric: &Metric| {
        let found = ALIASES.iter().find(|alias| alias.of.name == metric.name);
        found.map_or_else(String::new, |alias| {
            let unit = if alias.scale < 1.5 { "" } else { " (ms)" };
            format!("`{}`{unit}", alias.name)
        })
    };
    let table = |title: &str, meaning: &str, groups: &[&[&Metric]], text: &mut String| {
        write!(text, "\n## {title}\n\n{meaning}\n\n| name | kind | labels | meaning | with `--compat kuma` also |\n|---|---|---|---|---|\n").unwrap();
        for metric in groups.iter().copied().flatten() {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let (name, help) = (metric.name, metric.help);
            writeln!(
                text,
                "| `{name}` | {kind} | {} | {help} | {} |",
                labels.join(", "),
                aliases(metric)
            )
            .unwrap();
        }
    };
    writeln!(text, "{}; sizes have {} bytes.", bounds(SECONDS_BUCKETS), bounds(BYTES_BUCKETS))
        .unwrap();
    table(
        "Always there",
        "Those without labels, or with labels whose values are known, from the start, at 0.",
        &[control::METRICS],
        &mut text,
    );
    table(
        "Of its receivers",
        "Of the OTLP ports by which it takes recent telemetry.",
        &[pipeline::RECEIVERS],
        &mut text,
    );
    table(
        "Of its own traces",
        "With `--tracing` only: of their making, and of the pipeline that sends them.",
        &[control::TRACING, pipeline::BACKENDS],
        &mut text,
    );
    text
}

fn page(kind: &Kind, level: usize) -> String {
    let schema = (kind.schema)();
    let root = schema.as_value();
    let mut text = format!("{} {}\n", "#".repeat(level), kind.name);
    if let Some(meaning) = root["description"].as_str() {
        write!(text, "\n{meaning}\n").unwrap();
    }
    let shape = if kind.flat {
        "at the top level, beside `type`, `mesh` and `name`"
    } else {
        "below `spec`"
    };
    let scope = if kind.scope == ursa_model::kind::Scope::Global { "global" } else { "in a mesh" };
    let path = if scope == "global" {
        format!("/{}/{{name}}", kind.plural)
    } else {
        format!("/meshes/{{mesh}}/{}/{{name}}", kind.plural)
    };
    let names: Vec<_> = std::iter::once(kind.plural)
        .chain(kind.short.iter().copied())
        .map(|n| format!("`{n}`"))
        .collect();
    write!(
        text,
        "\nIt is {scope}; REST path `{path}`; on the command line also {}. Fields stand {shape}.\n\n\
         | field | type | meaning |\n|---|---|---|\n",
        names.join(", ")
    )
    .unwrap();
    rows(root, root, "", &mut Vec::new(), &mut text);
    text
}

/// One row per field, depth first.
fn rows(root: &Value, schema: &Value, path: &str, above: &mut Vec<String>, text: &mut String) {
    let (schema, name) = resolve(root, schema);
    if let Some(name) = name {
        if above.contains(&name) {
            return;
        }
        above.push(name);
        fields(root, schema, path, above, text);
        above.pop();
    } else {
        fields(root, schema, path, above, text);
    }
}

fn fields(root: &Value, schema: &Value, path: &str, above: &mut Vec<String>, text: &mut String) {
    for variant in ["oneOf", "anyOf", "allOf"] {
        for option in schema[variant].as_array().into_iter().flatten() {
            rows(root, option, path, above, text);
        }
    }
    if schema["items"].is_object() {
        rows(root, &schema["items"], &format!("{path}[]"), above, text);
    }
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let (target, _) = resolve(root, field);
        let meaning =
            field["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let needed = if required.contains(&name.as_str()) { ", required" } else { "" };
        writeln!(text, "| `{path}` | {}{needed} | {meaning} |", type_of(root, field)).unwrap();
        rows(root, field, &path, above, text);
    }
}

/// Follows a reference, also through `anyOf: [{$ref}, null]` of an optional field.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> (&'a Value, Option<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
        return (&root["$defs"][name], Some(name.to_owned()));
    }
    let options: Vec<_> = schema["anyOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|option| option["type"] != "null")
        .collect();
    match options.as_slice() {
        [only] => resolve(root, only),
        _ => (schema, None),
    }
}

fn type_of(root: &Value, schema: &Value) -> String {
    let (schema, _) = resolve(root, schema);
    let choices: Vec<_> = schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(schema["oneOf"].as_array().into_iter().flatten().map(|option| &option["const"]))
        .filter_map(Value::as_str)
        .map(|choice| format!("`{choice}`"))
        .collect();
    if !choices.is_empty() {
        return choices.join(", ");
    }
    let one = |value: &Value| value.as_str().filter(|t| *t != "null").map(str::to_owned);
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(one).collect(),
        single => one(single).into_iter().collect(),
    };
    match types.as_slice() {
        [only] if only == "array" => format!("list of {}", type_of(root, &schema["items"])),
        [only] if only == "object" && schema["properties"].is_null() => "map".to_owned(),
        [] => "any".to_owned(),
        _ => types.join(" or "),
    }
}
