//! Which requests are traced, on the oldest and the newest Envoy.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::collector::Collector;
use crate::mesh::{Mesh, eventually, peer};

/// Of each path with each context.
const REQUESTS: usize = 10;
/// Paths below it are traced whatever the ratio.
pub(crate) const MARKED: &str = "/on/marked/";

fn policy(collector: &Collector, name: &str, rest: &str) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: {name}\nspec:\n  targetRef: {{kind: MeshService, name: gateway}}\n  default:\n    \
         backends: [{{openTelemetry: {{endpoint: '{}'}}}}]\n    {rest}\n",
        collector.grpc()
    )
}

/// The paths of requests that were traced at the gateway.
pub(crate) fn traced_paths(spans: &[Value]) -> impl Iterator<Item = (&str, &Value)> {
    let servers = spans.iter().filter(|span| span["kind"] == 2);
    servers.filter_map(|span| {
        let mut attributes = span["attributes"].as_array()?.iter();
        let path = attributes.find(|one| one["key"] == "url.path")?;
        Some((path["value"]["stringValue"].as_str()?, span))
    })
}

/// Sends a last request on each of these connections. What was sent on them before and is traced has arrived when these have: each
/// belongs to one thread of Envoy's, which hands spans over in order.
pub(crate) async fn all_arrived(mesh: &Mesh, collector: &Collector, connections: &[Client]) {
    let gateway = mesh.gateway().await;
    let name = format!("{MARKED}{}", collector.spans().len());
    for connection in connections {
        let request = connection.get(format!("{gateway}{name}"));
        request.send().await.unwrap().bytes().await.unwrap();
    }
    eventually("the last requests' spans", async || {
        let spans = collector.spans();
        let arrived = traced_paths(&spans).filter(|(path, _)| *path == name).count();
        (arrived == connections.len()).then_some(())
    })
    .await;
    // Batches may overtake each other behind the agent.
    mesh.gateway_delivered().await;
}

/// How many requests for each path were traced, by the context that they came with.
async fn traced(mesh: &Mesh, collector: &Collector, paths: &[&str]) -> BTreeMap<String, usize> {
    let gateway = mesh.gateway().await;
    let client = Client::new();
    let before = collector.spans().len();
    for (context, flags) in [("none", ""), ("traced", "01"), ("untraced", "00")] {
        for path in paths {
            for number in 0..REQUESTS {
                let mut request = client.get(format!("{gateway}{path}?{context}"));
                if !flags.is_empty() {
                    let trace = format!("{:032x}", number + 1);
                    request = request
                        .header("traceparent", format!("00-{trace}-00000000000000aa-{flags}"));
                }
                request.send().await.unwrap().bytes().await.unwrap();
            }
        }
    }
    all_arrived(mesh, collector, &[client]).await;
    let mut found = BTreeMap::new();
    for (path, span) in traced_paths(&collector.spans()[before..]) {
        if path.starts_with(MARKED) {
            continue;
        }
        // Callers' trace ids are small numbers.
        let is_callers = span["traceId"].as_str().unwrap().starts_with("00000000");
        let context = if is_callers { "traced" } else { "none" };
        *found.entry(format!("{path} {context}")).or_default() += 1;
    }
    found
}

fn counts(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

#[tokio::test]
async fn rules_decide_before_the_ratios_and_callers_are_followed_if_asked_for() {
    for (variable, version) in [("URSA_ENVOY", "1.40.0"), ("URSA_ENVOY_OLDEST", "1.36.4")] {
        let envoy = peer(variable, &format!("envoy/{version}/envoy"));
        let mesh = Mesh::demo(&["--rps", "0", "--envoy", &envoy.to_string_lossy()]);
        let collector = Collector::start().await;
        for name in ["all", "payments"] {
            mesh.ok(&["delete", "meshtrace", name]);
        }
        let paths = ["/on", "/off", "/metrics", "/rest"];
        let rules = "rules: [{match: {path: {type: PathPrefix, value: /on}}, random: 100}, {match: {path: {type: Exact, value: /off}}, off: true}]";
        let apply = async |sampling: &str| {
            let written = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
            mesh.apply(&policy(&collector, "gateway", &format!("sampling: {{{sampling}}}")));
            eventually("the policy at the gateway", async || {
                let now = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
                let state = mesh.ok(&["inspect", "proxy", "gateway"]);
                (now != written && !state.contains("not acknowledged")).then_some(())
            })
            .await;
            all_arrived(&mesh, &collector, &[Client::new()]).await;
        };

        apply(&format!("random: 0, {rules}")).await;
        let found = traced(&mesh, &collector, &paths).await;
        let expected = counts(&[("/on none", REQUESTS), ("/on traced", REQUESTS)]);
        assert_eq!(found, expected, "{version}");

        apply(&format!("random: 0, parent: {{enabled: true}}, traceProbes: true, {rules}")).await;
        let found = traced(&mesh, &collector, &paths).await;
        let expected = counts(&[
            ("/on none", REQUESTS),
            ("/on traced", REQUESTS),
            ("/rest traced", REQUESTS),
            ("/metrics traced", REQUESTS),
        ]);
        assert_eq!(found, expected, "{version}");
    }
}

#[tokio::test]
async fn an_eighth_of_twenty_thousand_requests_is_an_eighth() {
    const REQUESTS: u32 = 20_000;
    const CLIENTS: u32 = 8;
    let mesh = Mesh::demo(&["--rps", "0"]);
    let collector = Collector::start().await;
    let gateway = mesh.gateway().await;
    for name in ["all", "payments"] {
        mesh.ok(&["delete", "meshtrace", name]);
    }
    let last = "rules: [{match: {path: {type: PathPrefix, value: /on}}, random: 100}]";
    mesh.apply(&policy(&collector, "gateway", &format!("sampling: {{random: \"12.5\", {last}}}")));
    eventually("the policy everywhere", async || {
        let config = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
        config.to_string().contains("\"numerator\":1250,").then_some(())
    })
    .await;
    eventually("its acknowledgement", async || {
        let state = mesh.ok(&["inspect", "proxy", "gateway"]);
        (!state.contains("not acknowledged")).then_some(())
    })
    .await;
    all_arrived(&mesh, &collector, &[Client::new()]).await;
    let before = collector.spans().len();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let url = format!("{gateway}/nothing");
        clients.spawn(async move {
            let client = Client::new();
            for _ in 0..REQUESTS / CLIENTS {
                client.get(&url).send().await.unwrap().bytes().await.unwrap();
            }
            client
        });
    }
    all_arrived(&mesh, &collector, &clients.join_all().await).await;
    let spans = collector.spans();
    let traced = traced_paths(&spans[before..]).filter(|(path, _)| *path == "/nothing").count();
    // Binomial: mean 2,500, standard deviation 46.8; four of them.
    let deviation = (f64::from(REQUESTS) * 0.125 * 0.875).sqrt();
    let difference = (traced as f64 - f64::from(REQUESTS) * 0.125).abs();
    assert!(difference < 4.0 * deviation, "{traced} of {REQUESTS} requests were traced");
}
