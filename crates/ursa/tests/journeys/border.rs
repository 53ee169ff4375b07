//! A gateway at a border: who has no certificate or token is kept out, what nobody wants is filtered, and each backend
//! gets its own form.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::Authority;
use crate::collector::Collector;
use crate::gateway::{Gateway, TRACE};
use crate::mesh::{eventually, peer};
use crate::zipkin::Zipkin;

/// Traces that each of telemetrygen's runs sends, each of two spans.
const TRACES: u64 = 5;

/// A gateway for both backends, its certificates in `folder`.
fn file(folder: &Path, collector: &str, zipkin: &str) -> String {
    let below = |name: &str| folder.join(name);
    let tls = json!({"cert": below("server.crt"), "key": below("server.key"), "clientCa": below("ca.crt")});
    let guarded = json!({"listen": "127.0.0.1:0", "tls": tls, "auth": {"bearerToken": "${TOKEN}"}});
    let file = json!({
        "storage": "./state",
        "status": "127.0.0.1:0",
        "receivers": [{"otlpGrpc": guarded}, {"otlpHttp": guarded}, {"zipkin": {"listen": "127.0.0.1:0"}}],
        "processors": [
            {"filter": {"name": "probes", "drop": [{"attributes": {"probe": {"exact": "yes"}}}]}},
            {"filter": {"name": "children", "drop": [{"spanName": {"prefix": "okey-dokey"}}]}},
        ],
        "exporters": [
            {"name": "collector", "openTelemetry": {"endpoint": collector}},
            {"name": "zipkin", "zipkin": {"url": zipkin}},
        ],
        "routes": [{"signals": ["traces"], "exporters": ["collector", "zipkin"]}],
    });
    file.to_string()
}

/// telemetrygen towards a receiver of the gateway; whether it was content.
async fn telemetrygen(gateway: &Gateway, receiver: &str, arguments: &[String]) -> bool {
    let address = gateway.receiver(receiver).await.replace("127.0.0.1", "localhost");
    let mut command =
        Command::new(peer("URSA_TELEMETRYGEN", "peers/telemetrygen/0.161.0/telemetrygen"));
    command.args(["traces", "--rate=0", "--timeout=2s", "--otlp-endpoint", &address]);
    command.arg(format!("--traces={TRACES}")).args(arguments);
    if receiver == "otlp_http" {
        command.arg("--otlp-http");
    }
    command.output().unwrap().status.success()
}

#[tokio::test]
async fn only_who_may_gets_in_and_each_backend_gets_its_own_form() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("server", Duration::from_hours(1));
    authority.issue("client", Duration::from_hours(1));
    let (collector, zipkin) = (Collector::start().await, Zipkin::start().await);
    let yaml = file(folder.path(), &collector.grpc(), &zipkin.url());
    let gateway = Gateway::start(folder.path(), &yaml).await;

    let below = |name: &str| authority.path(name).display().to_string();
    let known = [format!("--ca-cert={}", below("ca.crt"))];
    let shown = [
        "--mtls".into(),
        format!("--client-cert={}", below("client.crt")),
        format!("--client-key={}", below("client.key")),
    ];
    let token = |token: &str| [format!("--otlp-header=authorization=\"Bearer {token}\"")];
    let (right, wrong) = (token("top-secret-token"), token("top-secret-tokem"));
    for receiver in ["otlp_grpc", "otlp_http"] {
        // Without a certificate, with another token, without one.
        for refused in [
            [&known[..], &right].concat(),
            [&known[..], &shown, &wrong].concat(),
            [&known[..], &shown].concat(),
        ] {
            telemetrygen(&gateway, receiver, &refused).await;
            assert_eq!(gateway.ledger("collector")["received"], 0, "{receiver} {refused:?}");
        }
    }
    for receiver in ["otlp_grpc", "otlp_http"] {
        assert!(telemetrygen(&gateway, receiver, &[&known[..], &shown, &right].concat()).await);
    }

    // Client and server share an id, which only Zipkin's own form keeps.
    let shared = json!([
        {"traceId": TRACE, "id": "a2fb4a1d1a96d312", "kind": "CLIENT", "name": "get /", "timestamp": 1_700_000_000_000_000_u64, "duration": 2000,
         "localEndpoint": {"serviceName": "frontend"}},
        {"traceId": TRACE, "id": "a2fb4a1d1a96d312", "kind": "SERVER", "name": "get /", "timestamp": 1_700_000_000_000_500_u64, "duration": 900,
         "localEndpoint": {"serviceName": "backend"}, "tags": {"error": "timeout"}, "shared": true},
    ]);
    let mut sent = shared.clone();
    let probe = json!({"traceId": TRACE, "id": "000000000000000b", "name": "probe", "tags": {"probe": "yes"}});
    sent.as_array_mut().unwrap().push(probe);
    let url = format!("http://{}/api/v2/spans", gateway.receiver("zipkin").await);
    let answer = reqwest::Client::new().post(url).json(&sent).send().await.unwrap();
    assert_eq!(answer.status(), 202);

    // Half of what telemetrygen sent, and what Zipkin's client sent but for the probe.
    let (children, rest) = (2 * TRACES, 2 * TRACES + 2);
    let expected = json!({
        "received": rest + children + 1, "recovered": 0, "delivered": rest, "waiting": 0, "retrying": 0, "inFlight": 0,
        "dropped": {}, "filtered": {"children": children, "probes": 1}, "merged": 0, "difference": 0,
    });
    for backend in ["collector", "zipkin"] {
        let ledger = eventually("all is delivered", async || {
            let ledger = gateway.ledger(backend);
            (ledger["delivered"] == rest).then_some(ledger)
        });
        assert_eq!(ledger.await, expected, "{backend}");
    }
    let spans = eventually("the Collector has all", async || {
        let spans = collector.spans();
        (spans.len() as u64 == rest).then_some(spans)
    })
    .await;
    let converted = spans.iter().filter(|span| span["traceId"] == TRACE);
    let converted: BTreeMap<_, _> = converted
        .map(|span| {
            (span["resource"]["service.name"].as_str().unwrap(), (&span["kind"], &span["name"]))
        })
        .collect();
    let name = json!("get /");
    assert_eq!(
        converted,
        BTreeMap::from([("frontend", (&json!(3), &name)), ("backend", (&json!(2), &name))])
    );
    let mut native = zipkin.get(&format!("/api/v2/trace/{TRACE}")).await.unwrap();
    native.as_array_mut().unwrap().sort_by_key(|span| span["timestamp"].as_u64());
    assert_eq!(native, shared);
    let generated = zipkin.get("/api/v2/traces?serviceName=telemetrygen&limit=100").await.unwrap();
    assert_eq!(generated.as_array().unwrap().len() as u64, 2 * TRACES, "{generated:#}");

    let shown = String::from_utf8(gateway.telemetry(&["status"]).stdout).unwrap();
    for backend in ["collector", "zipkin"] {
        let words = format!("traces to {backend}: filtered {children} by children, 1 by probes");
        assert!(shown.contains(&words), "{shown}");
    }
    let audit = gateway.telemetry(&["audit", TRACE, "--output", "json"]);
    let audit: Value = serde_json::from_slice(&audit.stdout).unwrap();
    let stages: Vec<_> = audit[0]["audit"]["spans"].as_array().unwrap().iter().map(ends).collect();
    let delivered =
        vec!["deliver delivered collector".to_owned(), "deliver delivered zipkin".to_owned()];
    assert_eq!(
        stages,
        [delivered.clone(), delivered, vec!["process dropped probes".to_owned()]],
        "{audit:#}"
    );
}

/// How a span's way ended: stage, verdict, and the backend or the rule.
fn ends(span: &Value) -> Vec<String> {
    let stages = span["stages"].as_array().unwrap();
    let last = stages.iter().filter(|stage| stage["verdict"] != "kept");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut ends: Vec<_> = last
        .map(|stage| {
            let why = text(&stage["backend"]).or_else(|| text(&stage["rule"])).unwrap_or_default();
            format!(
                "{} {} {why}",
                stage["stage"].as_str().unwrap(),
                stage["verdict"].as_str().unwrap()
            )
        })
        .collect();
    ends.sort();
    ends
}
