//! Fuzz targets of OTLP receiving. `cargo test` runs the kept corpus (`__fuzz__`) and some random
//! inputs; `cargo bolero test` searches for more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Protocol, Settings};
use ursa_pipeline::{Received, Refusal, Signal, Sink};

/// Takes every signal and looks whether a decoder could.
#[derive(Debug, Default)]
struct Decoder {
    refused: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl Sink for Decoder {
    fn takes(&self, _: Signal) -> bool {
        true
    }

    async fn accept(&self, Received { signal, request, .. }: Received) -> Result<(), Refusal> {
        if !decodes(signal, &request) {
            self.refused.lock().unwrap().push(request);
        }
        Ok(())
    }
}

/// Bodies of every kind, through the whole receiver: the first byte chooses the kind.
#[test]
fn http_bodies() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sink = Arc::new(Decoder::default());
    let (receiver, sender) = runtime.block_on(async {
        let receiver = Settings::new(Protocol::OtlpHttp, Bind::Tcp(([127, 0, 0, 1], 0).into()));
        let sink = Arc::clone(&sink) as Arc<dyn Sink>;
        let receiver = receiver.start(sink, &Registry::new(&[])).await.unwrap();
        let stream = TcpStream::connect(receiver.address().unwrap()).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        TaskTracker::new().spawn(connection);
        (receiver, sender)
    });
    let sender = Mutex::new(sender);
    let runtime = std::panic::AssertUnwindSafe(runtime);
    bolero::check!().with_iterations(1000).for_each(|bytes: &[u8]| {
        let Some((choice, body)) = bytes.split_first() else { return };
        let signal = Signal::ALL[usize::from(choice % 3)];
        let media = if choice & 4 == 0 { "application/x-protobuf" } else { "application/json" };
        let encoding = ["identity", "gzip", "zstd", "identity"][usize::from(choice >> 3 & 3)];
        let request = Request::post(signal.http_path())
            .header("host", "x")
            .header("content-type", media)
            .header("content-encoding", encoding)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let mut sender = sender.lock().unwrap();
        let status = runtime.block_on(async {
            sender.ready().await.unwrap();
            let response = sender.send_request(request).await.unwrap();
            let status = response.status().as_u16();
            response.into_body().collect().await.unwrap();
            status
        });
        assert!([200, 400, 413].contains(&status), "{status}");
        assert!(sink.refused.lock().unwrap().is_empty());
    });
    runtime.0.block_on(receiver.shutdown(Duration::from_secs(1)));
}

fn decodes(signal: Signal, bytes: &[u8]) -> bool {
    match signal {
        Signal::Traces => ExportTraceServiceRequest::decode(bytes).is_ok(),
        Signal::Metrics => ExportMetricsServiceRequest::decode(bytes).is_ok(),
        Signal::Logs => ExportLogsServiceRequest::decode(bytes).is_ok(),
    }
}
