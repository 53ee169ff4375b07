//! Senders that send each span until it is acknowledged.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use ursa_model::pipeline::ExporterSpec;

use crate::export::{Exporter, Outcome, Outlet, Payload, Tcp, Values};
use crate::{Form, Signal};

const SENDERS: usize = 4;
const PACE: Duration = Duration::from_millis(2);

/// Several senders at work.
pub(super) struct Load {
    senders: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    acknowledged: Mutex<BTreeSet<String>>,
    /// By each sender.
    refused: [AtomicU64; SENDERS],
    stop: AtomicBool,
}

impl Load {
    /// Begins to send to an OTLP/gRPC receiver.
    pub(super) fn start(to: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(sender, to, Arc::clone(&shared)));
        }
        Self { senders, shared }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    /// How often each sender was refused.
    pub(super) fn refused(&self) -> [u64; SENDERS] {
        self.shared.refused.each_ref().map(|refused| refused.load(Ordering::Relaxed))
    }

    /// Names of all spans that were acknowledged.
    pub(super) async fn end(self) -> BTreeSet<String> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.senders.join_all().await;
        let acknowledged = self.shared.acknowledged.lock().unwrap();
        acknowledged.clone()
    }
}

async fn send(sender: usize, to: SocketAddr, shared: Arc<Shared>) {
    let spec = serde_json::from_value(json!({"endpoint": to.to_string()})).unwrap();
    let values = Values::new(Arc::default(), std::collections::BTreeMap::new());
    let outlet = Outlet { values, dial: Arc::new(Tcp), tasks: TaskTracker::new() };
    let exporter = Exporter::new(&ExporterSpec::OpenTelemetry(spec), Signal::Traces, outlet);
    for number in 0_u64.. {
        let name = format!("{sender}/{number} {}", "x".repeat(1000));
        let payload = payload(&name);
        loop {
            match exporter.send(&payload).await {
                Outcome::Delivered { rejected: 0, .. } => break,
                Outcome::Failed(_) => shared.refused[sender].fetch_add(1, Ordering::Relaxed),
                other => panic!("{other:?}"),
            };
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            sleep(PACE).await;
        }
        shared.acknowledged.lock().unwrap().insert(name);
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        sleep(PACE).await;
    }
}

fn payload(name: &str) -> Payload {
    let (trace_id, span_id) = (vec![1; 16], vec![2; 8]);
    let spans = vec![Span { name: name.to_owned(), trace_id, span_id, ..Span::default() }];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request: Bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    let (signal, form, bytes) = (Signal::Traces, Form::Otlp, request.len());
    Payload { signal, form, requests: vec![request], items: 1, bytes }
}
