//! `kill -9` of a pipeline's process at any moment: every span that was acknowledged arrives.
//!
//! The victim is this test binary again. It puts numbered spans into a pipeline with queues on disk,
//! several at once, and says which were acknowledged. Its backend answers, pushes back and hangs by
//! turns.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use ursa_metrics::Registry;
use ursa_pipeline::receive::{Bind, Protocol, Settings};
use ursa_pipeline::{Pipeline, PipelineInputs, Received, Refusal, Signal, Sink};

/// How often the victim is killed; another number may be given in this variable.
const ROUNDS: &str = "URSA_CRASH_ROUNDS";
const FEW: u64 = 100;
const STORAGE: &str = "URSA_PIPELINE_CRASH_STORAGE";
const BACKEND: &str = "URSA_PIPELINE_CRASH_BACKEND";
const FIRST: &str = "URSA_PIPELINE_CRASH_FIRST";
const ACKNOWLEDGED: &str = "acknowledged ";
const SENDERS: u64 = 4;

fn request(number: u64) -> Vec<u8> {
    let id = |length: usize| [&number.to_be_bytes()[..], &[1; 8]].concat()[..length].to_vec();
    let name = format!("{number} {}", "x".repeat(usize::try_from(number * 31 % 3000).unwrap()));
    let span = Span { name, trace_id: id(16), span_id: id(8), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A pipeline with its queue in `storage` that delivers to `backend`.
async fn pipeline(storage: &Path, backend: &str) -> Pipeline {
    let registry = Registry::new(&[]);
    let storage = Some(storage.to_owned());
    let pipeline =
        Pipeline::start(PipelineInputs { environment: BTreeMap::new(), registry, storage });
    let spec = json!({
        "endpoint": backend,
        "timeout": "1s",
        "retryPolicy": {"initialBackoff": "10ms", "maxBackoff": "50ms"},
        "circuitBreaker": {"openFor": "50ms"},
    });
    let backends = json!([{"name": "backend", "spec": {"openTelemetry": spec}}]);
    let config = serde_json::from_value(json!({"traces": {"backends": backends}})).unwrap();
    pipeline.reconfigure(config, &BTreeMap::new()).await;
    pipeline
}

/// What the killed process does.
async fn send_without_end(storage: &Path, backend: &str, first: u64) {
    let pipeline = pipeline(storage, backend).await;
    let status = pipeline.status().await;
    assert_eq!(status.warnings, [""; 0], "the queue is on disk");
    let source: Arc<str> = "test".into();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (sink, source) = (pipeline.sink(), Arc::clone(&source));
        senders.spawn(async move {
            for round in 0.. {
                let number = first + round * SENDERS + sender;
                let received = Received::otlp(Signal::Traces, request(number).into(), 1, &source);
                if sink.accept(received).await.is_ok() {
                    let line = format!("{ACKNOWLEDGED}{number}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            }
        });
    }
    while senders.join_next().await.is_some() {}
}

/// A backend that remembers which spans it took.
#[derive(Debug, Default)]
struct Shelf {
    taken: Mutex<BTreeSet<u64>>,
    requests: AtomicU64,
}

#[async_trait]
impl Sink for Shelf {
    async fn accept(&self, received: Received) -> Result<(), Refusal> {
        match self.requests.fetch_add(1, Ordering::Relaxed) % 7 {
            2 => return Err(Refusal::Full { retry_after: Duration::from_millis(1) }),
            4 => return Err(Refusal::Unavailable { retry_after: Duration::ZERO }),
            6 => sleep(Duration::from_millis(20)).await,
            _ => {}
        }
        let request = ExportTraceServiceRequest::decode(received.request).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
        let numbers = scopes
            .flat_map(|scope| scope.spans)
            .map(|span| u64::from_be_bytes(span.span_id.try_into().unwrap()));
        self.taken.lock().unwrap().extend(numbers);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_span_arrives_whenever_the_process_is_killed() {
    let variable = |name| std::env::var_os(name).map(|value| value.into_string().unwrap());
    if let Some(storage) = variable(STORAGE) {
        let (backend, first) = (variable(BACKEND).unwrap(), variable(FIRST).unwrap());
        return send_without_end(storage.as_ref(), &backend, first.parse().unwrap()).await;
    }
    let rounds = variable(ROUNDS).map_or(FEW, |rounds| rounds.parse().unwrap());
    let storage = tempfile::tempdir().unwrap();
    let shelf = Arc::new(Shelf::default());
    let receiver = Settings::new(Protocol::OtlpGrpc, Bind::Tcp("127.0.0.1:0".parse().unwrap()));
    let sink = Arc::clone(&shelf) as Arc<dyn Sink>;
    let receiver = receiver.start(sink, &Registry::new(&[])).await.unwrap();
    let backend = receiver.address().unwrap().to_string();
    let mut random = fastrand::Rng::with_seed(1);
    let mut acknowledged = BTreeSet::new();
    for round in 0..rounds {
        let lines = if round % 8 == 0 { 0 } else { random.usize(..200) };
        let moment = Duration::from_micros(random.u64(..20_000));
        let killed = kill_after(storage.path(), &backend, (round + 1) * 1_000_000, lines, moment);
        let more = tokio::time::timeout(Duration::from_mins(1), killed).await.unwrap();
        acknowledged.extend(more);
    }
    assert!(acknowledged.len() as u64 > rounds * 10, "only {}", acknowledged.len());
    // What is left is delivered by a process that lives.
    let last = pipeline(storage.path(), &backend).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let status = last.status().await;
        let [backend] = &status.backends[..] else { panic!("one backend: {status:?}") };
        assert_eq!((backend.ledger.difference, backend.dropped_items["disk"]), (0, 0));
        if backend.waiting_items == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{backend:#?}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(last.shutdown(Duration::from_secs(1)).await, 0);
    let taken = shelf.taken.lock().unwrap().clone();
    let lost: Vec<_> = acknowledged.difference(&taken).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    receiver.shutdown(Duration::ZERO).await;
}

/// Lets the victim work, kills it after some lines and a moment more, and returns what it
/// acknowledged.
async fn kill_after(
    storage: &Path,
    backend: &str,
    first: u64,
    lines: usize,
    moment: Duration,
) -> Vec<u64> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "every_acknowledged_span_arrives_whenever_the_process_is_killed"])
        .arg("--nocapture")
        .env(STORAGE, storage)
        .env(BACKEND, backend)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < lines {
        let line = output.next_line().await.unwrap().expect("the victim works until it is killed");
        acknowledged.extend(number(&line));
    }
    sleep(moment).await;
    victim.kill().await.unwrap();
    while let Some(line) = output.next_line().await.unwrap() {
        acknowledged.extend(number(&line));
    }
    acknowledged
}

/// libtest leaves its own words on the first line, and the last may be cut off.
fn number(line: &str) -> Option<u64> {
    line.split_once(ACKNOWLEDGED)?.1.parse().ok()
}
