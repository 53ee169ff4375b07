//! Certificates of both sides end and are replaced while spans flow: none is lost.

use super::certificates::Authority;
use super::*;

/// How long the first certificates hold.
const FIRST: Duration = Duration::from_secs(5);
/// When they are replaced, and how long spans flow in all.
const REPLACED: Duration = Duration::from_secs(2);
const ALL: Duration = Duration::from_secs(8);

#[tokio::test]
async fn no_span_is_lost_while_certificates_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("server", FIRST);
    authority.issue("client", FIRST);
    let (grpc, http) = (free(), free());
    let tls = json!({
        "cert_file": authority.path("server.crt"),
        "key_file": authority.path("server.key"),
        "client_ca_file": authority.path("ca.crt"),
        "reload_interval": "200ms",
    });
    let file = |name: &str| folder.path().join(name);
    // Connections are short, so that new ones are made all the time.
    let age = json!({"server_parameters": {"max_connection_age": "300ms"}});
    let config = json!({
        "receivers": {
            "otlp/grpc": {"protocols": {"grpc": {"endpoint": grpc, "tls": tls, "keepalive": age}}},
            "otlp/http": {"protocols": {"http": {"endpoint": http, "tls": tls, "idle_timeout": "50ms"}}},
        },
        "exporters": {
            "file/grpc": {"path": file("grpc"), "flush_interval": "100ms"},
            "file/http": {"path": file("http"), "flush_interval": "100ms"},
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces/grpc": {"receivers": ["otlp/grpc"], "exporters": ["file/grpc"]},
                "traces/http": {"receivers": ["otlp/http"], "exporters": ["file/http"]},
            },
        },
    });
    let mut collector = start(&config, folder.path(), &[grpc, http]).await;
    let pipeline = pipeline(&[], &Registry::new(&[]));
    let backend = |name: &str, endpoint: String| {
        let tls = json!({
            "ca": authority.path("ca.crt"),
            "cert": authority.path("client.crt"),
            "key": authority.path("client.key"),
        });
        json!({"name": name, "spec": {"openTelemetry": {"endpoint": endpoint, "tls": tls}}})
    };
    let backends = [
        backend("grpc", format!("localhost:{}", grpc.port())),
        backend("http", format!("https://localhost:{}", http.port())),
    ];
    let task = json!({"traces": {"backends": backends}});
    pipeline.reconfigure(serde_json::from_value(task).unwrap(), &BTreeMap::new()).await;
    let sink = pipeline.sink();
    let began = Instant::now();
    let (mut number, mut replaced) = (0, false);
    while began.elapsed() < ALL {
        push(&sink, number).await;
        number += 1;
        if !replaced && began.elapsed() > REPLACED {
            authority.issue("client", 100 * ALL);
            authority.issue("server", 100 * ALL);
            replaced = true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let expected: Vec<_> = sorted((0..number).map(request).collect()).into_keys().collect();
    let names = |name: &str| sorted(in_file(&file(name))).into_keys().collect::<Vec<_>>();
    let deadline = Instant::now() + PATIENCE;
    while names("grpc") != expected || names("http") != expected {
        let status = pipeline.status().await;
        assert!(Instant::now() < deadline, "of {number}: {status:#?}");
        sleep(Duration::from_millis(50)).await;
    }
    for backend in pipeline.status().await.backends {
        assert_eq!(backend.dropped_items.values().sum::<u64>(), 0, "{backend:?}");
        assert_eq!(backend.last_error, None, "{backend:?}");
    }
    assert_eq!(pipeline.shutdown(PATIENCE).await, 0);
    collector.kill().await.unwrap();
}
