//! A metric to a real Prometheus over OTLP/HTTP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};
use ursa_pipeline::Signal;
use ursa_pipeline::probe::probe;

const PATIENCE: Duration = Duration::from_secs(30);

fn prometheus() -> PathBuf {
    let given = std::env::var_os("URSA_PROMETHEUS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cached = || Some(cache.or_else(home)?.join("ursa/peers/prometheus/3.15.0/prometheus"));
    let path = given.or_else(cached).expect("HOME is set");
    assert!(path.exists(), "{} is missing: run cargo xtask peers", path.display());
    path
}

/// The answer to a query; nothing while it does not answer.
async fn query(address: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_string(&mut answer).await.unwrap();
    }
    answer
}

#[tokio::test]
async fn prometheus_takes_metrics_and_says_what_it_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, "{}").unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Command::new(prometheus())
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--web.enable-otlp-receiver")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !query(address, "/-/ready").await.contains("200 OK") {
        assert!(Instant::now() < deadline, "it is not ready");
        sleep(Duration::from_millis(50)).await;
    }
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
    let found = query(address, "/api/v1/query?query=%7Bjob%3D%22ursa-telemetry-test%22%7D").await;
    assert!(found.contains("ursa") && found.contains(",\"1\"]"), "{found}");
    server.kill().await.unwrap();
}
