//! What `ursa telemetry test` says of a real Collector, and of what is wrong on the way to it.

use ursa_model::pipeline::ExporterSpec;
use ursa_pipeline::probe::probe;

use super::certificates::Authority;
use super::*;

/// The step that failed or what became of a span, and what to do.
async fn verdict(backend: serde_json::Value, ports: &[SocketAddr]) -> String {
    let spec: ExporterSpec = serde_json::from_value(json!({"openTelemetry": backend})).unwrap();
    let report = probe(&spec, &BTreeMap::new(), &BTreeMap::new()).await;
    let failed = report.places[0].steps.iter().find(|step| !step.ok);
    let (detail, mend) = match failed {
        Some(step) => (&step.detail, &step.mend),
        None => (&report.verdicts[0].detail, &report.verdicts[0].mend),
    };
    let text = format!("{detail} -> {}", mend.as_deref().unwrap_or_default());
    let unnumbered =
        |text: String, port: &SocketAddr| text.replace(&port.port().to_string(), "PORT");
    ports.iter().fold(text, unnumbered)
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("server", Duration::from_hours(1));
    let ports = [free(), free(), free(), free(), free()];
    let [grpc, http, grpc_tls, http_tls, token] = ports;
    let tls = json!({
        "cert_file": authority.path("server.crt"),
        "key_file": authority.path("server.key"),
        "client_ca_file": authority.path("ca.crt"),
    });
    let auth = json!({"authenticator": "bearertokenauth"});
    let config = json!({
        "receivers": {
            "otlp": {"protocols": {"grpc": {"endpoint": grpc}, "http": {"endpoint": http}}},
            "otlp/tls": {"protocols": {
                "grpc": {"endpoint": grpc_tls, "tls": tls},
                "http": {"endpoint": http_tls, "tls": tls},
            }},
            "otlp/token": {"protocols": {"http": {"endpoint": token, "auth": auth}}},
        },
        "exporters": {"nop": {}},
        "extensions": {"bearertokenauth": {"token": "t0ps3cret"}},
        "service": {
            "extensions": ["bearertokenauth"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp", "otlp/tls", "otlp/token"], "exporters": ["nop"]},
                "metrics": {"receivers": ["otlp"], "exporters": ["nop"]},
                "logs": {"receivers": ["otlp"], "exporters": ["nop"]},
            },
        },
    });
    let mut collector = start(&config, folder.path(), &ports).await;
    let place = |scheme: &str, port: SocketAddr| format!("{scheme}localhost:{}", port.port());
    let ca = json!({"ca": authority.path("ca.crt")});
    for (backend, expected) in [
        (json!({"endpoint": place("", grpc)}), "taken -> "),
        (json!({"endpoint": place("http://", http)}), "taken -> "),
        (
            json!({"endpoint": place("", http)}),
            "localhost:PORT speaks HTTP/1 on this port, and gRPC needs HTTP/2 -> set `protocol: \
             http`, or use the port for gRPC, usually 4317",
        ),
        (
            json!({"endpoint": place("http://", grpc)}),
            "localhost:PORT speaks HTTP/2 alone on this port, as gRPC does -> set `protocol: \
             grpc`, or use the port for HTTP, usually 4318",
        ),
        (
            json!({"endpoint": place("https://", http)}),
            "localhost:PORT speaks plain HTTP/1 on this port, not TLS -> write `http://` in the \
             endpoint or leave `tls` out, or use the port for TLS",
        ),
        (
            json!({"endpoint": place("", grpc), "tls": ca}),
            "localhost:PORT speaks plain HTTP/2 on this port, not TLS -> write `http://` in the \
             endpoint or leave `tls` out, or use the port for TLS",
        ),
        (
            json!({"endpoint": place("", grpc_tls)}),
            "localhost:PORT closed the connection without a word -> it may want TLS (`https://`, or \
             `tls: {}` for gRPC), or the port is not for OTLP",
        ),
        (
            json!({"endpoint": place("http://", http_tls)}),
            "400 Bad Request: Client sent an HTTP request to an HTTPS server. -> write `https://` \
             in the endpoint",
        ),
        (
            json!({"endpoint": place("", grpc_tls), "tls": ca}),
            "no TLS with localhost:PORT: it wants a client certificate -> give one as `tls.cert` \
             and `tls.key`",
        ),
        (
            json!({"endpoint": place("https://", http_tls), "tls": ca}),
            "no TLS with localhost:PORT: it wants a client certificate -> give one as `tls.cert` \
             and `tls.key`",
        ),
        (
            json!({"endpoint": place("http://", token)}),
            "401 Unauthorized: missing or empty authorization header: Authorization -> look at \
             the credentials in `headers` and `auth`",
        ),
        (
            json!({"endpoint": place("http://", http) + "/wrong"}),
            "404 Not Found: 404 page not found -> nothing takes telemetry at /wrong/v1/traces: \
             look at the endpoint's path",
        ),
    ] {
        assert_eq!(verdict(backend.clone(), &ports).await, expected, "{backend}");
    }
    collector.kill().await.unwrap();
}
