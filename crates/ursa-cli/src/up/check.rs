//! `up --check`: whether one request's trace came through whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::children::{Children, memory};
use super::resources::Proxy;
use crate::client::Client;
use crate::failure::Outcome;

/// A side of a request that must be seen: `frontend server`, `frontend client`.
type Side = (String, &'static str);

/// The sides that a whole trace of the demo has: each service as a server, and as a client where it calls others.
pub(crate) fn wanted(proxies: &[Proxy]) -> BTreeSet<Side> {
    proxies
        .iter()
        .flat_map(|proxy| {
            let server = proxy.inbound.map(|_| (proxy.service.clone(), "server"));
            let client = (!proxy.outbounds.is_empty()).then(|| (proxy.service.clone(), "client"));
            server.into_iter().chain(client)
        })
        .collect()
}

/// A trace, and how much of what is wanted is in it.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The trace's id.
    pub(crate) trace: String,
    /// How many spans it has.
    pub(crate) spans: usize,
    /// What is not in it.
    pub(crate) missing: BTreeSet<Side>,
}

/// The recent trace that has most of what is wanted.
pub(crate) async fn best(client: &Client, wanted: &BTreeSet<Side>) -> Outcome<Option<Found>> {
    let services = wanted.iter().map(|(service, _)| service).collect::<BTreeSet<_>>().len();
    let recent = client.get("/telemetry/traces", &[("limit", "100".to_owned())]).await?;
    let mut summaries: Vec<_> = recent["traces"].as_array().into_iter().flatten().collect();
    summaries.sort_by_key(|trace| {
        let named = trace["services"].as_array().map_or(0, Vec::len);
        std::cmp::Reverse((named.min(services), trace["spans"].as_u64()))
    });
    let Some(id) = summaries.first().and_then(|trace| trace["traceId"].as_str()) else {
        return Ok(None);
    };
    let trace = client.get(&format!("/telemetry/traces/{id}"), &[]).await?;
    Ok(Some(judge(id, &trace, wanted)))
}

fn judge(id: &str, trace: &Value, wanted: &BTreeSet<Side>) -> Found {
    let spans = trace["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let seen: BTreeSet<(String, String)> = spans
        .iter()
        .map(|span| {
            let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
            (text("service"), text("kind").to_lowercase())
        })
        .collect();
    let missing = wanted
        .iter()
        .filter(|(service, kind)| !seen.contains(&(service.clone(), (*kind).to_owned())))
        .cloned()
        .collect();
    Found { trace: id.to_owned(), spans: spans.len(), missing }
}

/// What `--check` prints.
pub(crate) fn report(
    found: Option<&Found>,
    wanted: &BTreeSet<Side>,
    ready: Option<f64>,
    first_trace: Option<f64>,
    children: &Children,
    envoy: &str,
) -> Value {
    let missing = found.map_or(wanted, |found| &found.missing);
    let services: BTreeSet<_> =
        wanted.iter().filter(|side| !missing.contains(*side)).map(|(service, _)| service).collect();
    let mut rss = BTreeMap::new();
    for (name, pid) in children.ids() {
        let memory = memory(pid);
        for (_, bytes) in &memory.children {
            rss.insert(name.replacen("agent", "envoy", 1), *bytes);
        }
        rss.insert(name, memory.own);
    }
    json!({
        "ok": first_trace.is_some(),
        "seconds_to_ready": ready.map(rounded),
        "seconds_to_first_trace": first_trace.map(rounded),
        "trace_id": found.map(|found| &found.trace),
        "spans": found.map_or(0, |found| found.spans),
        "services": services,
        "missing": missing.iter().map(|(service, kind)| format!("{service} {kind}")).collect::<Vec<_>>(),
        "rss_bytes": rss,
        "versions": {"ursa": env!("CARGO_PKG_VERSION"), "envoy": envoy},
    })
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_lacks_what_no_span_shows() {
        let wanted = BTreeSet::from([
            ("a".to_owned(), "server"),
            ("a".to_owned(), "client"),
            ("b".to_owned(), "server"),
        ]);
        let trace = json!({"spans": [{"service": "a", "kind": "SERVER"}, {"service": "b", "kind": "server"}]});
        let found = judge("1", &trace, &wanted);
        assert_eq!(found.spans, 2);
        assert_eq!(found.missing, BTreeSet::from([("a".to_owned(), "client")]));
    }
}
