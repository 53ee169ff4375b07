//! Which requests are traced, on the oldest and the newest Envoy.

use std::collections::BTreeMap;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::collector::Collector;
use crate::mesh::{Mesh, eventually, peer};

/// Of each path with each context.
const REQUESTS: usize = 10;
/// The flush interval of Envoy's tracer and what a busy machine adds.
const SETTLED: std::time::Duration = std::time::Duration::from_secs(3);

fn policy(collector: &Collector, name: &str, rest: &str) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: {name}\nspec:\n  targetRef: {{kind: MeshService, name: gateway}}\n  default:\n    \
         backends: [{{openTelemetry: {{endpoint: '{}'}}}}]\n    {rest}\n",
        collector.grpc()
    )
}

/// How many requests for each path were traced, by the context that they came with.
async fn traced(mesh: &Mesh, collector: &Collector, paths: &[&str]) -> BTreeMap<String, usize> {
    let gateway = mesh.gateway().await;
    let client = reqwest::Client::new();
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
    sleep(SETTLED).await;
    let mut found = BTreeMap::new();
    for span in collector.spans().iter().skip(before).filter(|span| span["kind"] == 2) {
        let mut attributes = span["attributes"].as_array().unwrap().iter();
        let path = attributes.find(|one| one["key"] == "url.path").unwrap();
        let path = path["value"]["stringValue"].as_str().unwrap();
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
            sleep(SETTLED).await;
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
    mesh.apply(&policy(&collector, "gateway", "sampling: {random: \"12.5\"}"));
    eventually("the policy everywhere", async || {
        let config = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
        config.to_string().contains("\"numerator\":1250,").then_some(())
    })
    .await;
    sleep(SETTLED).await;
    let before = collector.spans().len();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let url = format!("{gateway}/nothing");
        clients.spawn(async move {
            let client = reqwest::Client::new();
            for _ in 0..REQUESTS / CLIENTS {
                client.get(&url).send().await.unwrap().bytes().await.unwrap();
            }
        });
    }
    clients.join_all().await;
    sleep(SETTLED).await;
    let spans = collector.spans();
    let traced = spans.iter().skip(before).filter(|span| span["kind"] == 2).count();
    // Binomial: mean 2,500, standard deviation 46.8; four of them.
    let deviation = (f64::from(REQUESTS) * 0.125 * 0.875).sqrt();
    let difference = (traced as f64 - f64::from(REQUESTS) * 0.125).abs();
    assert!(difference < 4.0 * deviation, "{traced} of {REQUESTS} requests were traced");
}
