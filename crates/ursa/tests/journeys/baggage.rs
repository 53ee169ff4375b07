//! Baggage by policy: what callers forge does not come in, what is private does not go on, and spans, log records, lines
//! and metrics say so.

use serde_json::Value;

use crate::collector::{Collector, free};
use crate::mesh::{Mesh, eventually};

/// What a caller sends.
const BAGGAGE: &str =
    "tenant.id=s%C3%BC%C3%9F;ttl=1,tenant.secret=1,internal.x=2,team=forged,broken";

fn policies(endpoint: &str, lines: &str, port: u16) -> String {
    format!(
        "type: MeshTrace\nmesh: default\nname: all\nspec:\n  default:\n    backends: [{{openTelemetry: {{endpoint: '{endpoint}'}}}}]\n    \
         tags:\n    - {{name: tenant, baggage: {{name: tenant.id}}, inMetrics: {{}}}}\n    - {{name: secret, baggage: {{name: tenant.secret}}}}\n    \
         - {{name: team, baggage: {{name: team}}}}\n    - {{name: internal, baggage: {{name: internal.x}}}}\n    \
         baggage:\n      set:\n      - {{name: team, literal: core}}\n      - {{name: shop, header: {{name: x-shop, default: none}}}}\n      \
         incoming: {{allow: ['tenant.*', 'internal.*'], deny: [tenant.secret]}}\n      outgoing: {{deny: ['internal.*']}}\n\
         ---\ntype: MeshAccessLog\nmesh: default\nname: gateway\nspec:\n  targetRef: {{kind: MeshService, name: gateway}}\n  \
         from:\n  - targetRef: {{kind: Mesh}}\n    default:\n      backends:\n      \
         - openTelemetry:\n          endpoint: '{endpoint}'\n          attributes: [{{key: tenant, value: '%BAGGAGE(tenant.id)%'}}, {{key: secret, value: '%BAGGAGE(tenant.secret)%'}}]\n      \
         - file: {{path: '{lines}', format: {{type: Plain, plain: '%BAGGAGE(tenant.id)% %BAGGAGE(team)% %BAGGAGE(shop)% %BAGGAGE(tenant.secret)%'}}}}\n\
         ---\ntype: MeshMetric\nmesh: default\nname: gateway\nspec:\n  targetRef: {{kind: Dataplane, name: gateway}}\n  default:\n    \
         backends: [{{prometheus: {{port: {port}}}}}]\n"
    )
}

/// Attributes of the last span that a service's proxy has of what came in.
fn last(spans: &[Value], service: &str) -> Option<Value> {
    let of = |span: &&Value| span["resource"]["service.name"] == service && span["kind"] == 2;
    let span = spans.iter().rfind(of)?;
    let pairs = span["attributes"].as_array()?.iter();
    let text = |pair: &Value| {
        Some((pair["key"].as_str()?.to_owned(), pair["value"]["stringValue"].clone()))
    };
    Some(pairs.filter_map(text).collect())
}

#[tokio::test]
async fn nothing_forged_comes_in_and_nothing_private_goes_on() {
    let mesh = Mesh::demo(&["--rps", "0"]);
    let collector = Collector::start().await;
    let (lines, port) = (mesh.data.path().join("lines"), free());
    mesh.ok(&["delete", "meshtrace", "payments"]);
    mesh.apply(&policies(&collector.grpc(), &lines.to_string_lossy(), port));
    let gateway = mesh.gateway().await;
    let client = reqwest::Client::new();
    eventually("spans that say what the rules let in and on", async || {
        let request = client.get(&gateway).header("baggage", BAGGAGE).header("x-shop", "a b");
        request.send().await.ok()?.bytes().await.ok()?;
        let spans = collector.spans();
        let (first, second) = (last(&spans, "gateway")?, last(&spans, "frontend")?);
        let says = |span: &Value, internal: Value| {
            span["tenant"] == "süß"
                && span["team"] == "core"
                && span["secret"].is_null()
                && span["internal"] == internal
        };
        (says(&first, "2".into()) && says(&second, Value::Null)).then_some(())
    })
    .await;
    eventually("a log record", async || {
        let logs = collector.logs();
        let said = &logs.last()?["said"];
        (said["tenant"] == "süß" && said["secret"].is_null()).then_some(())
    })
    .await;
    eventually("a line", async || {
        let text = std::fs::read_to_string(&lines).unwrap_or_default();
        (text.lines().last()? == "s%C3%BC%C3%9F core a%20b -").then_some(())
    })
    .await;
    let counted = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    let address = gateway.rsplit_once(':').expect("a port").0.to_owned();
    eventually("what was dropped, and the tenant's requests, counted", async || {
        let text =
            reqwest::get(format!("{address}:{port}/metrics")).await.ok()?.text().await.ok()?;
        let all = ["denied", "invalid"]
            .map(|reason| format!("envoy_ursa_baggage_{reason}_members_total"));
        let of_tenant = |line: &str| {
            line.starts_with("ursa_request_duration_seconds_count")
                && line.contains("tenant=\"süß\"")
        };
        let both = ["inbound", "outbound"].map(|direction| format!("direction=\"{direction}\""));
        let are_told =
            both.iter().all(|way| text.lines().any(|line| of_tenant(line) && line.contains(way)));
        (are_told && all.iter().all(|name| counted(&text, name) > 0.0)).then_some(())
    })
    .await;
}
