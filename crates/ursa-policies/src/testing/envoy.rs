//! What policies change in what Envoy is told, field by field.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use ursa_envoy::json::to_json;
use ursa_envoy::proxy::ProxyConfig;
use ursa_envoy::resources::{CDS, EDS, LDS, RDS, resources};

/// One line for each field that is another or new: the resource, the field, its value.
pub(super) fn changes(before: &ProxyConfig, after: &ProxyConfig) -> Vec<String> {
    let (before, after) = (fields(before), fields(after));
    let changed = after.iter().filter(|(field, value)| before.get(*field) != Some(*value));
    let mut lines: Vec<_> =
        changed.map(|((resource, field), value)| format!("{resource} {field}: {value}")).collect();
    let gone = before.keys().filter(|field| !after.contains_key(*field));
    lines.extend(gone.map(|(resource, field)| format!("{resource} {field} is gone")));
    lines
}

/// Every scalar by its resource and path.
fn fields(proxy: &ProxyConfig) -> BTreeMap<(String, String), Json> {
    let resources = resources(proxy);
    let mut found = BTreeMap::new();
    for (kind, title) in [(LDS, "listener"), (RDS, "routes"), (CDS, "cluster"), (EDS, "endpoints")]
    {
        for (name, resource) in resources.get(kind).into_iter().flatten() {
            let json = to_json(kind, &resource.body.value);
            let mut collect = |path: &str, value: &Json| {
                let path =
                    path.replace(".typed_config.", ".").replace(".filter_chains[0].filters", "");
                found.insert((format!("{title} {name}"), path), value.clone());
            };
            leaves(&json, "", &mut collect);
        }
    }
    found
}

fn leaves(json: &Json, path: &str, collect: &mut impl FnMut(&str, &Json)) {
    match json {
        Json::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                leaves(value, &format!("{path}.{name}"), collect);
            }
        }
        Json::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{path}[{index}]"), collect);
            }
        }
        value => collect(path.trim_start_matches('.'), value),
    }
}
