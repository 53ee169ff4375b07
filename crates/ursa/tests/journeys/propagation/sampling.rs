//! A caller's decision is kept in whichever format it comes, and a client can force a trace.

use std::collections::BTreeMap;

use reqwest::Client;

use crate::collector::Collector;
use crate::mesh::{Mesh, eventually};
use crate::sampling::{MARKED, all_arrived, traced_paths};

/// Of each context.
const REQUESTS: usize = 5;

fn policy(collector: &Collector, parent: &str) -> String {
    let rules =
        format!("rules: [{{match: {{path: {{type: PathPrefix, value: {MARKED}}}}}, random: 100}}]");
    format!(
        "type: MeshTrace\nmesh: default\nname: gateway\nspec:\n  targetRef: {{kind: MeshService, name: gateway}}\n  default:\n    \
         backends: [{{openTelemetry: {{endpoint: '{}'}}}}]\n    propagators: [w3c_tracecontext, b3, b3multi, datadog]\n    \
         sampling: {{{parent}, {rules}}}\n",
        collector.grpc()
    )
}

/// What callers send, by the path that they ask for.
fn callers() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let b3 = |rest: &str| vec![("b3", format!("{trace}-{span}{rest}"))];
    let w3c = |flags: &str| vec![("traceparent", format!("00-{trace}-{span}-{flags}"))];
    let datadog = |priority: Option<&str>| {
        let ids = [("x-datadog-trace-id", "77"), ("x-datadog-parent-id", "88")];
        let priority = priority.map(|priority| ("x-datadog-sampling-priority", priority));
        ids.into_iter().chain(priority).map(|(name, value)| (name, value.to_owned())).collect()
    };
    let multi = |name, value: &str| {
        vec![
            ("x-b3-traceid", trace.to_owned()),
            ("x-b3-spanid", span.to_owned()),
            (name, value.to_owned()),
        ]
    };
    vec![
        ("/nothing", vec![]),
        ("/w3c/yes", w3c("01")),
        ("/w3c/no", w3c("00")),
        ("/b3/yes", b3("-1")),
        ("/b3/debug", b3("-d")),
        ("/b3/no", b3("-0")),
        ("/b3/only-no", vec![("b3", "0".to_owned())]),
        ("/b3/open", b3("")),
        ("/b3multi/yes", multi("x-b3-sampled", "true")),
        ("/b3multi/debug", multi("x-b3-flags", "1")),
        ("/b3multi/no", multi("x-b3-sampled", "0")),
        ("/datadog/yes", datadog(Some("2"))),
        ("/datadog/no", datadog(Some("-1"))),
        ("/datadog/open", datadog(None)),
        ("/client", vec![("x-client-trace-id", "7".to_owned())]),
    ]
}

#[tokio::test]
async fn a_decision_is_kept_in_whichever_format_it_comes_and_a_client_forces_a_trace() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let collector = Collector::start().await;
    for name in ["all", "payments"] {
        mesh.ok(&["delete", "meshtrace", name]);
    }
    let gateway = mesh.gateway().await;
    let decided =
        ["/w3c/yes", "/b3/yes", "/b3/debug", "/b3multi/yes", "/b3multi/debug", "/datadog/yes"];
    let none = ["/client"];
    let open = ["/b3/open", "/datadog/open", "/nothing", "/client"];
    for (parent, besides) in [
        ("random: 0, parent: {enabled: true}", &none[..]),
        ("parent: {enabled: true, fallback: 100}", &open),
    ] {
        let before = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
        mesh.apply(&policy(&collector, parent));
        eventually("the policy at the gateway", async || {
            let now = mesh.get("/meshes/default/dataplanes/gateway/_config").await;
            let state = mesh.ok(&["inspect", "proxy", "gateway"]);
            (now != before && !state.contains("not acknowledged")).then_some(())
        })
        .await;
        all_arrived(&mesh, &collector, &[Client::new()]).await;
        let before = collector.spans().len();
        let client = Client::new();
        for (path, headers) in callers() {
            for _ in 0..REQUESTS {
                let request = client.get(format!("{gateway}{path}"));
                let request =
                    headers.iter().fold(request, |it, (name, value)| it.header(*name, value));
                request.send().await.unwrap().bytes().await.unwrap();
            }
        }
        all_arrived(&mesh, &collector, &[client]).await;
        let mut found = BTreeMap::new();
        for (path, _) in traced_paths(&collector.spans()[before..]) {
            if !path.starts_with(MARKED) {
                *found.entry(path.to_owned()).or_insert(0) += 1;
            }
        }
        let expected = decided.iter().chain(besides).map(|path| ((*path).to_owned(), REQUESTS));
        assert_eq!(found, expected.collect(), "{parent}");
    }
}
