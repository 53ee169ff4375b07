//! Logs to a real Loki over OTLP/HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use ursa_metrics::Registry;
use ursa_pipeline::{Pipeline, PipelineInputs, Received, Signal};

use crate::{PATIENCE, free, get, program, start, until};

const REQUESTS: usize = 40;
const RECORDS: usize = 50;
const TRACE: u128 = 0x5af7_6519_16cd_43dd_8448_eb21_1c80_319c;

async fn loki(folder: &Path) -> (Child, SocketAddr) {
    let (at, grpc) = (free(), free());
    let config = json!({
        "auth_enabled": false,
        "server": {
            "http_listen_address": "127.0.0.1", "http_listen_port": at.port(),
            "grpc_listen_address": "127.0.0.1", "grpc_listen_port": grpc.port(),
        },
        "common": {
            "instance_addr": "127.0.0.1",
            "path_prefix": folder,
            "storage": {"filesystem": {"chunks_directory": folder.join("chunks"), "rules_directory": folder.join("rules")}},
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}},
        },
        "schema_config": {"configs": [{"from": "2024-01-01", "store": "tsdb", "object_store": "filesystem",
            "schema": "v13", "index": {"prefix": "index_", "period": "24h"}}]},
        "ingester": {"lifecycler": {"min_ready_duration": "0s"}},
        "analytics": {"reporting_enabled": false},
    });
    let path = folder.join("loki.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut server = Command::new(program("URSA_LOKI", "peers/loki/3.7.8/loki"));
    let server = start(server.arg(format!("-config.file={}", path.display())), Stdio::null());
    until("Loki is ready", async || get(at, "/ready").await).await;
    (server, at)
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn line(number: usize, record: usize) -> String {
    format!("GET /süß/{number:03}/{record:02} \"quoted\"")
}

/// A request of records, a nanosecond apart.
fn request(began: u64, number: usize) -> Received {
    let record = |at: usize| LogRecord {
        time_unix_nano: began + (number * RECORDS + at) as u64,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: Some(AnyValue { value: Some(Any::StringValue(line(number, at))) }),
        attributes: vec![attribute("url.path", "/süß")],
        trace_id: TRACE.to_be_bytes().into(),
        ..LogRecord::default()
    };
    let log_records = (0..RECORDS).map(record).collect();
    let resource_logs = vec![ResourceLogs {
        scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }];
    let request = ExportLogsServiceRequest { resource_logs }.encode_to_vec().into();
    Received::otlp(Signal::Logs, request, RECORDS, &"test".into())
}

/// What a query finds.
async fn found(at: SocketAddr, path: &str) -> Value {
    let answer = get(at, path).await.expect("Loki answers");
    serde_json::from_str::<Value>(&answer).unwrap()["data"]["result"].take()
}

#[tokio::test]
async fn every_record_is_in_loki_under_the_labels_of_its_resource() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, at) = loki(folder.path()).await;
    let registry = Registry::new(&[]);
    let inputs = PipelineInputs {
        environment: BTreeMap::new(),
        detected: BTreeMap::new(),
        registry,
        storage: None,
    };
    let pipeline = Pipeline::start(inputs);
    let endpoint = format!("http://{at}/otlp");
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let began = u64::try_from(began.as_nanos()).unwrap();
    for compression in ["none", "gzip"] {
        let spec = json!({"openTelemetry": {"endpoint": endpoint, "compression": compression}});
        let task = json!({
            "resource": {"service.name": compression, "deployment.environment.name": "test", "kept": "yes"},
            "logs": {"backends": [{"name": compression, "spec": spec}]},
        });
        pipeline.reconfigure(serde_json::from_value(task).unwrap(), &BTreeMap::new()).await;
        for number in 0..REQUESTS {
            pipeline.sink().accept(request(began, number)).await.unwrap();
        }
        let delivered = until("all is delivered", async || {
            let mut backends = pipeline.status().await.backends;
            let status = backends.remove(backends.iter().position(|one| one.name == compression)?);
            assert_eq!(status.last_error, None, "{status:?}");
            (status.ledger.waiting + status.ledger.in_flight == 0).then_some(status.ledger)
        });
        let delivered = delivered.await;
        assert_eq!(delivered.difference, 0, "{delivered:?}");
        assert!(delivered.dropped.is_empty(), "{delivered:?}");

        let of = format!("%7Bservice_name%3D%22{compression}%22%7D");
        let count = format!("/loki/api/v1/query?query=sum(count_over_time({of}%5B1h%5D))");
        let counted = found(at, &count).await;
        let expected = (REQUESTS * RECORDS).to_string();
        assert_eq!(counted[0]["value"][1], expected, "{compression}: {counted}");
        let streams = found(at, &format!("/loki/api/v1/query_range?query={of}&limit=5000")).await;
        let mut lines = BTreeSet::new();
        for stream in streams.as_array().unwrap() {
            // Resource attributes that Loki indexes are labels; the others stand beside them.
            let about = &stream["stream"];
            assert_eq!(about["deployment_environment_name"], "test", "{about}");
            assert_eq!((&about["kept"], &about["url_path"]), (&"yes".into(), &"/süß".into()));
            assert_eq!(about["trace_id"], format!("{TRACE:032x}"));
            assert_eq!(
                (&about["severity_text"], &about["severity_number"]),
                (&"INFO".into(), &"9".into())
            );
            let values = stream["values"].as_array().unwrap();
            lines.extend(values.iter().map(|value| value[1].as_str().unwrap().to_owned()));
        }
        let all = (0..REQUESTS).flat_map(|number| (0..RECORDS).map(move |at| line(number, at)));
        assert!(lines == all.collect(), "{compression}: {:?}", lines.first());
    }
    let labels = get(at, "/loki/api/v1/labels").await.unwrap();
    let labels: Value = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels["data"], json!(["deployment_environment_name", "service_name"]));
    assert_eq!(pipeline.shutdown(PATIENCE).await, 0);
    server.kill().await.unwrap();
}
