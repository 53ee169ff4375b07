//! The examples of MeshTrace, applied to real Envoys: their spans arrive in a real Zipkin server, at Datadog's test
//! agent and in a Collector.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::collector::Collector;
use crate::datadog::TestAgent;
use crate::mesh::{Mesh, eventually};
use crate::zipkin::Zipkin;

/// Within which every proxy follows a policy.
const SETTLED: Duration = Duration::from_secs(2);

/// An example, with other words for some of its own.
fn example(name: &str, words: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/mesh-trace");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    words.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{name} says {from}");
        text.replace(from, to)
    })
}

/// Traces that Zipkin has of `service`, once it has some that began when all proxies had the policy.
async fn traces(zipkin: &Zipkin, service: &str) -> Vec<Vec<Value>> {
    let since = (Timestamp::now() + SETTLED).as_microsecond();
    let path = format!("/api/v2/traces?limit=100&serviceName={service}");
    eventually("Zipkin has traces", async || {
        let traces = zipkin.get(&path).await?;
        let mut traces: Vec<Vec<Value>> = serde_json::from_value(traces).ok()?;
        traces.retain(|trace| trace.iter().all(|span| span["timestamp"].as_i64() > Some(since)));
        (traces.len() > 3).then_some(traces)
    })
    .await
}

#[tokio::test]
async fn zipkin_gets_what_the_examples_say() {
    let mesh = Mesh::demo(&["--rps", "10"]);
    let old = "http://jaeger-collector.mesh-observability:9411/api/v2/spans";
    for name in ["simple.yaml", "inline.yaml"] {
        let zipkin = Zipkin::start().await;
        mesh.ok(&["delete", "meshtrace", "payments", "--ignore-not-found"]);
        mesh.apply(&example(name, &[(old, &zipkin.url()), ("name: backend", "name: frontend")]));
        let spans = traces(&zipkin, "frontend").await.concat();
        let services: BTreeSet<_> = spans
            .iter()
            .map(|span| span["localEndpoint"]["serviceName"].as_str().unwrap())
            .collect();
        assert_eq!(services, BTreeSet::from(["frontend"]), "{name} is for one service");
        for span in &spans {
            // Envoy's ids have 128 bits; Zipkin's have 64 unless `traceId128bit` says so.
            assert_eq!(span["traceId"].as_str().unwrap().len(), 16, "{span}");
            assert_eq!(span["tags"]["kuma.mesh"], "default", "{span}");
            let team = if name == "simple.yaml" { Value::from("core") } else { Value::Null };
            assert_eq!(span["tags"]["team"], team, "{span}");
        }
        let kinds: BTreeSet<_> = spans.iter().map(|span| span["kind"].to_string()).collect();
        assert_eq!(kinds, BTreeSet::from(["\"CLIENT\"".to_owned(), "\"SERVER\"".to_owned()]));
    }
}

#[tokio::test]
async fn datadogs_agent_gets_services_by_direction() {
    let mesh = Mesh::demo(&["--rps", "10"]);
    let agent = TestAgent::start().await;
    let (host, port) = ("trace-svc.datadog.svc.cluster.local", format!("port: {}", agent.port));
    mesh.ok(&["delete", "meshtrace", "payments"]);
    mesh.apply(&example("datadog.yaml", &[(host, "127.0.0.1"), ("port: 8126", &port)]));
    let expected = [
        "cart_INBOUND",
        "cart_OUTBOUND_payments",
        "catalog_INBOUND",
        "frontend_INBOUND",
        "frontend_OUTBOUND_cart",
        "frontend_OUTBOUND_catalog",
        "gateway_INBOUND",
        "gateway_OUTBOUND_frontend",
        "payments_INBOUND",
    ];
    let expected: BTreeSet<_> = expected.map(str::to_owned).into();
    eventually("every service in both directions", async || {
        let spans = agent.spans().await;
        let services: BTreeSet<_> =
            spans.iter().map(|span| span["service"].as_str().unwrap().to_owned()).collect();
        (services == expected).then_some(())
    })
    .await;
    assert_eq!(agent.failures().await, None);
}

#[tokio::test]
async fn while_migrating_both_backends_get_every_span() {
    let mesh = Mesh::demo(&["--rps", "5"]);
    let (zipkin, collector) = (Zipkin::start().await, Collector::start().await);
    mesh.ok(&["delete", "meshtrace", "payments"]);
    let old = "http://zipkin:9411/api/v2/spans";
    let words = [(old, &*zipkin.url()), ("collector:4317", &*collector.grpc())];
    mesh.apply(&example("migration.yaml", &words));
    let known = traces(&zipkin, "payments").await;
    for span in known.concat() {
        let id = span["id"].as_str().unwrap().to_owned();
        let other = eventually("the same span at the Collector", async || {
            collector.spans().into_iter().find(|other| other["spanId"] == *id)
        })
        .await;
        assert_eq!(other["traceId"], span["traceId"]);
        assert_eq!(other["resource"]["deployment.environment.name"], "trial");
        assert_eq!(span["tags"]["deployment.environment.name"], Value::Null, "{span}");
    }
}

#[tokio::test]
async fn spans_say_what_baggage_says_in_names_of_the_conventions() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let collector = Collector::start().await;
    mesh.ok(&["delete", "meshtrace", "payments"]);
    let backend = format!("{{openTelemetry: {{endpoint: '{}'}}}}", collector.grpc());
    mesh.apply(&format!(
        "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends: [{backend}]\n    \
         tags: [{{name: tenant, baggage: {{name: tenant.id, default: none}}}}]\n    \
         spanName: '{{{{name}}}} of {{{{tenant}}}}'\n    resourceAttributes: {{told.by: '{{{{name}}}} {{{{k8s.pod | default \"no pod\"}}}}'}}\n"
    ));
    let gateway = mesh.gateway().await;
    let span = eventually("a span with its tenant", async || {
        let request = reqwest::Client::new().get(format!("{gateway}/?secret=1"));
        let request = request.header("baggage", "x=1,tenant.id=the%20acme;ttl=3");
        request.send().await.ok()?.bytes().await.ok()?;
        // Baggage travels on: services behind the gateway say the same.
        collector.spans().into_iter().find(|span| {
            span["name"] == "GET of the acme"
                && span["kind"] == 2
                && span["resource"]["service.name"] == "gateway"
        })
    })
    .await;
    assert_eq!(span["resource"]["told.by"], "gateway no pod");
    assert_eq!(span["resource"]["service.version"], "v1");
    let names: BTreeSet<_> = span["attributes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap())
        .collect();
    for name in ["tenant", "http.request.method", "http.response.status_code", "url.path"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    for name in ["baggage", "ursa.baggage", "http.method", "component"] {
        assert!(!names.contains(name), "{name}: {names:?}");
    }
    let inspected = mesh.ok(&["inspect", "proxy", "gateway"]);
    assert!(
        inspected.contains("host.arch=") && inspected.contains("service.name=gateway"),
        "{inspected}"
    );
}
