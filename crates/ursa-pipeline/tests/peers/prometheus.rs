//! A metric to a real Prometheus over OTLP/HTTP.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;
use ursa_pipeline::Signal;
use ursa_pipeline::probe::probe;

use crate::{free, get, program, start, until};

#[tokio::test]
async fn prometheus_takes_metrics_and_says_what_it_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, "{}").unwrap();
    let address = free();
    let path = program("URSA_PROMETHEUS", "peers/prometheus/3.15.0/prometheus");
    let mut server = Command::new(path);
    server
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--web.enable-otlp-receiver");
    let mut server = start(&mut server, Stdio::null());
    until("Prometheus is ready", async || get(address, "/-/ready").await).await;
    let endpoint = format!("http://{address}/api/v1/otlp");
    for compression in ["none", "gzip"] {
        let spec = json!({"openTelemetry": {"endpoint": endpoint, "compression": compression}});
        let spec = serde_json::from_value(spec).unwrap();
        let report = probe(&spec, &BTreeMap::new(), &BTreeMap::new()).await;
        for verdict in &report.verdicts {
            assert_eq!(verdict.ok, verdict.signal == Signal::Metrics, "{report:#?}");
        }
        let traces = report.verdicts[0].mend.as_deref();
        let path = "/api/v1/otlp/v1/traces";
        let expected = format!("nothing takes telemetry at {path}: look at the endpoint's path");
        assert_eq!(traces, Some(expected.as_str()));
    }
    let query = "/api/v1/query?query=%7Bjob%3D%22ursa-telemetry-test%22%7D";
    let found = get(address, query).await.unwrap();
    assert!(found.contains("ursa") && found.contains(",\"1\"]"), "{found}");
    server.kill().await.unwrap();
}
