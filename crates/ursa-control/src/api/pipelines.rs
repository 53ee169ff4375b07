//! The telemetry pipelines beside the proxies: how they stand, and what became of a trace's spans.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use ursa_envoy::questions::About;
use ursa_model::ProxyId;

use super::Api;
use super::problem::Problem;

/// Bytes of a trace id.
const TRACE_ID: usize = 16;

/// Which proxies are asked; all unless narrowed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Narrow {
    mesh: Option<String>,
    proxy: Option<String>,
}

impl Narrow {
    fn proxies(&self, api: &Api) -> Vec<ProxyId> {
        let connected = api.planner.proxies.all().into_iter().map(|one| one.id.clone());
        let mut ids: Vec<_> = connected.chain(api.questions.proxies()).collect();
        ids.retain(|id| {
            self.mesh.as_ref().is_none_or(|mesh| *mesh == id.mesh)
                && self.proxy.as_ref().is_none_or(|name| *name == id.name)
        });
        ids.sort();
        ids.dedup();
        ids
    }
}

/// How the pipelines stand, by proxy.
pub(crate) async fn status(
    State(api): State<Api>,
    Query(narrow): Query<Narrow>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(asked(&api, &narrow, &About::Telemetry(true)).await))
}

/// What became of a trace's spans, by proxy. Ids of 64 bits are filled up with zeros.
pub(crate) async fn audit(
    State(api): State<Api>,
    Path(trace): Path<String>,
    Query(narrow): Query<Narrow>,
) -> Result<Json<Value>, Problem> {
    let id = trace_id(&trace).ok_or_else(|| {
        Problem::parameter("trace", "a trace id has 32 hexadecimal digits, or 16 for 64 bits")
    })?;
    Ok(Json(asked(&api, &narrow, &About::Trace(id)).await))
}

/// `[{"proxy", …what the agent says}]`, or `[{"proxy", "error"}]`.
async fn asked(api: &Api, narrow: &Narrow, about: &About) -> Value {
    let answers = api.questions.ask_all(narrow.proxies(api), about).await;
    let shown = answers.into_iter().map(|(id, answer)| {
        let mut shown: BTreeMap<String, Value> = match answer {
            Ok(Value::Object(fields)) => fields.into_iter().collect(),
            Ok(_) => BTreeMap::from([("error".to_owned(), json!("the answer is no object"))]),
            Err(error) => BTreeMap::from([("error".to_owned(), json!(error.to_string()))]),
        };
        shown.insert("proxy".to_owned(), json!(id.to_string()));
        json!(shown)
    });
    shown.collect()
}

pub(super) fn trace_id(text: &str) -> Option<Vec<u8>> {
    let digits = match text.len() {
        32 => text.to_owned(),
        16 => format!("{text:0>32}"),
        _ => return None,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let id = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    (id != [0; TRACE_ID]).then(|| id.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_hexadecimal_and_not_zero() {
        let mut id = vec![0; 8];
        id.extend([0xab; 8]);
        assert_eq!(trace_id(&"ab".repeat(8)), Some(id));
        assert_eq!(trace_id(&"AB".repeat(16)), Some(vec![0xab; 16]));
        for wrong in ["", "abc", &"0".repeat(32), &"xy".repeat(16), &"+1".repeat(16)] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }
}
