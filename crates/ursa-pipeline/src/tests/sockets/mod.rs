//! Faults under load with real sockets and queues on disk: what was acknowledged arrives, and the
//! ledger is exact meanwhile and afterwards.

mod disk;
mod load;
mod names;
mod relay;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::export::{Dial, Tcp};
use crate::receive::{Bind, Protocol, Receiver, Settings};
use crate::{Refusal, Sink};
use load::Load;
use relay::{Relay, Way};

const DEADLINE: Duration = Duration::from_mins(1);
/// So many spans arrive between two faults.
const SOME: usize = 50;

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A backend that remembers the names of the spans that it took.
#[derive(Debug, Default)]
struct Shelf(Mutex<BTreeSet<String>>);

#[async_trait]
impl Sink for Shelf {
    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        let request = ExportTraceServiceRequest::decode(received.request).unwrap();
        let spans = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
        let names = spans.flat_map(|scope| scope.spans).map(|span| span.name);
        self.0.lock().unwrap().extend(names);
        Ok(())
    }
}

/// A receiver on a port of its own.
async fn receiver(protocol: Protocol, sink: Arc<dyn Sink>) -> (Receiver, SocketAddr) {
    let settings = Settings::new(protocol, Bind::Tcp(([127, 0, 0, 1], 0).into()));
    let receiver = settings.start(sink, &Registry::new(&[])).await.unwrap();
    let address = receiver.address().unwrap();
    (receiver, address)
}

/// A pipeline with a receiver, loaded by several senders.
struct Flow {
    rig: Rig,
    receiver: Receiver,
    load: Load,
    shelf: Arc<Shelf>,
    _storage: TempDir,
}

impl Flow {
    /// To the backend `b` at this endpoint, which puts what it takes on the shelf.
    async fn start(endpoint: &str, dial: Arc<dyn Dial>, shelf: &Arc<Shelf>) -> Self {
        let storage = tempfile::tempdir().unwrap();
        let registry = Registry::new(&[]);
        let inputs = PipelineInputs {
            environment: BTreeMap::new(),
            detected: BTreeMap::new(),
            registry: registry.clone(),
            storage: Some(storage.path().to_owned()),
        };
        let rig =
            Rig { pipeline: Pipeline::start_with(inputs, dial), server: Arc::default(), registry };
        let spec = json!({
            "endpoint": endpoint,
            "timeout": "300ms",
            "retryPolicy": {"initialBackoff": "10ms", "maxBackoff": "50ms"},
            "circuitBreaker": {"openFor": "50ms"},
        });
        rig.configure(&[("b", spec)]).await;
        assert_eq!(rig.status("b").await.storage, crate::Storage::Disk);
        let (receiver, address) = receiver(Protocol::OtlpGrpc, rig.pipeline.sink()).await;
        let load = Load::start(address);
        Self { rig, receiver, load, shelf: Arc::clone(shelf), _storage: storage }
    }

    /// Waits; the ledger balances all along.
    async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        until(what, async || {
            let status = self.rig.status("b").await;
            let mut ledgers = status.sources.values().chain([&status.ledger]);
            assert!(ledgers.all(|ledger| ledger.difference == 0), "{what}: {status:#?}");
            is_so().await
        })
        .await;
    }

    fn arrived(&self) -> usize {
        self.shelf.0.lock().unwrap().len()
    }

    /// Waits until some more spans arrived.
    async fn flows(&self) {
        let before = self.arrived();
        self.until("spans arrive", async || self.arrived() >= before + SOME).await;
    }

    /// Ends the load; everything that was acknowledged arrives, and nothing else is in the ledger.
    async fn end(self) {
        let acknowledged = self.load.end().await;
        self.receiver.shutdown(Duration::from_secs(1)).await;
        until("nothing waits", async || self.rig.status("b").await.waiting_items == 0).await;
        self.rig.balance().await;
        let status = self.rig.status("b").await;
        let count = acknowledged.len() as u64;
        assert_eq!(
            (status.ledger.received, status.ledger.delivered),
            (count, count),
            "{status:#?}"
        );
        assert_eq!(*self.shelf.0.lock().unwrap(), acknowledged);
        assert_eq!(self.rig.pipeline.shutdown(Duration::from_secs(1)).await, 0);
    }
}

/// Answers that are cut off after the backend has taken what they answer to, a backend that takes
/// connections and is silent, and one that takes none.
#[tokio::test]
async fn resets_silence_and_absence_under_load() {
    for protocol in [Protocol::OtlpGrpc, Protocol::OtlpHttp] {
        let shelf = Arc::new(Shelf::default());
        let (backend, address) = receiver(protocol, Arc::clone(&shelf) as Arc<dyn Sink>).await;
        let relay = Relay::start(address, protocol).await;
        let scheme = if protocol == Protocol::OtlpHttp { "http://" } else { "" };
        let endpoint = format!("{scheme}{}", relay.address);
        let flow = Flow::start(&endpoint, Arc::new(Tcp), &shelf).await;
        flow.flows().await;
        for way in [Way::Cut, Way::Swallow, Way::Shut] {
            relay.becomes(way);
            flow.until("attempts fail", async || relay.count(way) >= 8).await;
            let status = flow.rig.status("b").await;
            assert!(status.last_error.is_some(), "{way:?}: {status:#?}");
            relay.becomes(Way::Through);
            flow.flows().await;
        }
        flow.end().await;
        backend.shutdown(Duration::from_secs(1)).await;
    }
}
