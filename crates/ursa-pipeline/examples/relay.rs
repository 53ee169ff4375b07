//! Relays OTLP to a backend until its input ends, then prints its status and CPU time.
//!
//! `relay 127.0.0.1:14317 127.0.0.1:4317`; `http:` before the address receives OTLP/HTTP rather than
//! OTLP/gRPC, and a path with a slash listens on a Unix socket.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Protocol, Settings};
use ursa_pipeline::{Pipeline, PipelineInputs};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(backend)) = (arguments.next(), arguments.next()) else {
        return Err("usage: relay LISTEN BACKEND".into());
    };
    let (protocol, listen) = match listen.strip_prefix("http:") {
        Some(listen) => (Protocol::OtlpHttp, listen),
        None => (Protocol::OtlpGrpc, &*listen),
    };
    let bind =
        if listen.contains('/') { Bind::Unix(listen.into()) } else { Bind::Tcp(listen.parse()?) };
    let registry = Registry::new(&[]);
    let inputs = PipelineInputs {
        environment: BTreeMap::new(),
        detected: BTreeMap::new(),
        registry: registry.clone(),
        storage: None,
    };
    let pipeline = Pipeline::start(inputs);
    let task = json!({
        "resource": {"service.name": "relay"},
        "traces": {"backends": [{"name": "backend", "spec": {"openTelemetry": {"endpoint": backend}}}]},
    });
    pipeline.reconfigure(serde_json::from_value(task)?, &BTreeMap::new()).await;
    let receiver = Settings::new(protocol, bind).start(pipeline.sink(), &registry).await?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    receiver.shutdown(Duration::from_secs(5)).await;
    let status = pipeline.status().await;
    let lost = pipeline.shutdown(Duration::from_secs(5)).await;
    println!("{}", serde_json::to_string_pretty(&status)?);
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks: u64 = stat.split(' ').skip(13).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    println!("lost {lost}; CPU {} ms", ticks * 10);
    Ok(())
}
