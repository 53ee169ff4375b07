//! telemetrygen and rotel as clients of our receivers: every item is counted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use ursa_metrics::Registry;
use ursa_otlp::wire;
use ursa_pipeline::receive::{Protocol, Receiver, Settings};
use ursa_pipeline::{Signal, Sink};

use crate::{PATIENCE, Shelf, free, local, program, start, until};

/// How many send at once.
const WORKERS: usize = 2;

/// What each worker of telemetrygen sends, and how many items that makes. In batches, all spans fit its queue of 2,048:
/// beyond that it drops some itself.
const LOADS: [(Signal, &[&str], usize); 7] = [
    (Signal::Traces, &["traces", "--traces=200", "--child-spans=3"], 800),
    (Signal::Traces, &["traces", "--traces=50", "--child-spans=3", "--batch=false"], 200),
    (Signal::Metrics, &["metrics", "--metrics=500", "--metric-type=Gauge"], 500),
    (Signal::Metrics, &["metrics", "--metrics=500", "--metric-type=Sum"], 500),
    (Signal::Metrics, &["metrics", "--metrics=500", "--metric-type=Histogram"], 500),
    (Signal::Metrics, &["metrics", "--metrics=500", "--metric-type=ExponentialHistogram"], 500),
    (Signal::Logs, &["logs", "--logs=500"], 500),
];

async fn receiver(protocol: Protocol) -> (Receiver, SocketAddr, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    let sink = Arc::clone(&shelf) as Arc<dyn Sink>;
    let settings = Settings::new(protocol, local());
    let receiver = settings.start(sink, &Registry::new(&[])).await.unwrap();
    let address = receiver.address().unwrap();
    (receiver, address, shelf)
}

/// Sends to that address until all is acknowledged.
async fn telemetrygen(to: SocketAddr, protocol: Protocol, load: &[&str]) {
    let mut command =
        Command::new(program("URSA_TELEMETRYGEN", "peers/telemetrygen/0.161.0/telemetrygen"));
    command.args(load).args(["--otlp-insecure", "--rate=0", "--otlp-endpoint", &to.to_string()]);
    command.arg(format!("--workers={WORKERS}"));
    if protocol == Protocol::OtlpHttp {
        command.arg("--otlp-http");
    }
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{load:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Shelf {
    /// How many items it has of a signal, as they were counted and as they are.
    fn items(&self, of: Signal) -> (usize, usize) {
        let kept = self.kept.lock().unwrap();
        let kept = kept.iter().filter(|one| one.signal == of);
        kept.fold((0, 0), |(said, are), one| {
            (said + one.items, are + wire::check(of, &one.request).unwrap())
        })
    }

    fn clear(&self) {
        self.kept.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn all_that_telemetrygen_sends_is_there() {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttp] {
        let (receiver, address, shelf) = receiver(protocol).await;
        for (signal, load, each) in LOADS {
            let items = WORKERS * each;
            telemetrygen(address, protocol, load).await;
            assert_eq!(shelf.items(signal), (items, items), "{protocol:?} {load:?}");
            shelf.clear();
        }
        receiver.shutdown(PATIENCE).await;
    }
}

/// A rotel that exports to that address; where it takes OTLP/gRPC.
async fn rotel(
    folder: &Path,
    to: SocketAddr,
    protocol: &str,
    compression: &str,
) -> (Child, SocketAddr) {
    let (grpc, http) = (free(), free());
    let mut rotel = Command::new(program("URSA_ROTEL", "peers/rotel/0.0.1a15/rotel-agent"));
    rotel
        .arg("start")
        .args([
            "--otlp-grpc-endpoint",
            &grpc.to_string(),
            "--otlp-http-endpoint",
            &http.to_string(),
        ])
        .args(["--exporter", "otlp", "--otlp-exporter-endpoint", &format!("http://{to}")])
        .args(["--otlp-exporter-protocol", protocol, "--otlp-exporter-compression", compression])
        .arg("--pid-file")
        .arg(folder.join("pid"))
        .arg("--log-file")
        .arg(folder.join("log"));
    let child = start(&mut rotel, Stdio::null());
    until("rotel listens", async || TcpStream::connect(grpc).await.ok()).await;
    (child, grpc)
}

#[tokio::test]
async fn all_that_rotel_sends_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for (protocol, name, compression) in
        [(Protocol::OtlpGrpc, "grpc", "none"), (Protocol::OtlpHttp, "http", "gzip")]
    {
        let (receiver, address, shelf) = receiver(protocol).await;
        let (mut rotel, feed) = rotel(folder.path(), address, name, compression).await;
        for (_, load, _) in LOADS {
            telemetrygen(feed, Protocol::OtlpGrpc, load).await;
        }
        for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
            let sent = LOADS.iter().filter(|(of, ..)| *of == signal);
            let items = sent.map(|(.., each)| WORKERS * each).sum();
            // It acknowledges first and sends later.
            until(&format!("{signal} by {name}, {compression}"), async || {
                (shelf.items(signal).0 >= items).then_some(())
            })
            .await;
            assert_eq!(shelf.items(signal), (items, items), "{name} {compression} {signal}");
        }
        rotel.kill().await.unwrap();
        receiver.shutdown(PATIENCE).await;
    }
}
