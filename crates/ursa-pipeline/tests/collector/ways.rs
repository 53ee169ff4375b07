//! Every way into a Collector: both protocols, plain, over TLS, with a client's certificate, with a
//! token, and each compression.

use ursa_pipeline::BackendStatus;

use super::certificates::Authority;
use super::*;

const TOKEN: &str = "t0ps3cret";
const HOUR: Duration = Duration::from_hours(1);

/// Name, protocol, TLS of the Collector, whether it wants a certificate of ours, whether it wants a
/// token, compression.
const WAYS: [(&str, &str, bool, bool, bool, &str); 8] = [
    ("grpc_zstd", "grpc", false, false, false, "zstd"),
    ("http_zstd", "http", false, false, false, "zstd"),
    ("grpc_tls", "grpc", true, false, false, "gzip"),
    ("http_tls", "http", true, false, false, "zstd"),
    ("grpc_mutual", "grpc", true, true, false, "zstd"),
    ("http_mutual", "http", true, true, false, "gzip"),
    ("grpc_token", "grpc", false, false, true, "none"),
    ("http_token", "http", true, false, true, "none"),
];

#[tokio::test]
async fn every_span_arrives_on_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("server", HOUR);
    authority.issue("client", HOUR);
    let (mut receivers, mut exporters, mut pipelines) = (json!({}), json!({}), json!({}));
    let (mut backends, mut ports) = (Vec::new(), Vec::new());
    for (name, protocol, tls, mutual, token, compression) in WAYS {
        let port = free();
        ports.push(port);
        let mut receiver = json!({"endpoint": port});
        let host = format!("localhost:{}", port.port());
        let scheme = if tls { "https" } else { "http" };
        let endpoint = if protocol == "http" { format!("{scheme}://{host}") } else { host };
        let mut backend = json!({"endpoint": endpoint, "compression": compression});
        if tls {
            receiver["tls"] = json!({
                "cert_file": authority.path("server.crt"),
                "key_file": authority.path("server.key"),
            });
            backend["tls"] = json!({"ca": authority.path("ca.crt")});
        }
        if mutual {
            receiver["tls"]["client_ca_file"] = json!(authority.path("ca.crt"));
            backend["tls"]["cert"] = json!(authority.path("client.crt"));
            backend["tls"]["key"] = json!(authority.path("client.key"));
        }
        if token {
            receiver["auth"] = json!({"authenticator": "bearertokenauth"});
            backend["auth"] = json!({"bearerToken": "${TOKEN}"});
        }
        receivers[format!("otlp/{name}")] = json!({"protocols": {protocol: receiver}});
        let file = folder.path().join(name);
        exporters[format!("file/{name}")] = json!({"path": file, "flush_interval": "100ms"});
        pipelines[format!("traces/{name}")] = json!({
            "receivers": [format!("otlp/{name}")],
            "exporters": [format!("file/{name}")],
        });
        backends.push(json!({"name": name, "spec": {"openTelemetry": backend}}));
    }
    let config = json!({
        "receivers": receivers,
        "exporters": exporters,
        "extensions": {"bearertokenauth": {"token": TOKEN}},
        "service": {
            "extensions": ["bearertokenauth"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": pipelines,
        },
    });
    let mut collector = start(&config, folder.path(), &ports).await;
    let pipeline = pipeline(&[("TOKEN", TOKEN)], &Registry::new(&[]));
    let task = json!({"traces": {"backends": backends}});
    pipeline.reconfigure(serde_json::from_value(task).unwrap(), &BTreeMap::new()).await;
    let sink = pipeline.sink();
    for number in 0..REQUESTS {
        push(&sink, number).await;
    }
    let arrived = || WAYS.map(|(name, ..)| in_file(&folder.path().join(name)).len());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = pipeline.status().await;
        let sent = |backend: &BackendStatus| backend.sent_items == (REQUESTS * SPANS) as u64;
        if status.backends.iter().all(sent) && arrived() == [REQUESTS; WAYS.len()] {
            break;
        }
        assert!(Instant::now() < deadline, "{:?} {status:#?}", arrived());
        sleep(Duration::from_millis(50)).await;
    }
    let expected = sorted((0..REQUESTS).map(request).collect());
    for (name, ..) in WAYS {
        let arrived = in_file(&folder.path().join(name)).into_iter();
        assert!(sorted(arrived.collect()) == expected, "{name}");
    }
    for backend in pipeline.status().await.backends {
        assert_eq!(backend.last_error, None, "{backend:?}");
    }
    assert_eq!(pipeline.shutdown(PATIENCE).await, 0);
    collector.kill().await.unwrap();
}
