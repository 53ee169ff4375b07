//! `kill -9` of a pipeline's process at any moment: every span that was acknowledged arrives, and no
//! more arrive again than `docs/reference/queue-format.md` says.
//!
//! The victim is this test binary again. It puts numbered spans into a pipeline with queues on disk,
//! several at once, and says which were acknowledged. Its backend answers, pushes back and hangs by
//! turns.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::pin::pin;
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
/// Numbers of one life of the victim.
const OF_A_LIFE: u64 = 1_000_000;
/// One life of so many is of large spans, and ends when more was delivered than may come again.
const HEAVY: u64 = 10;
const LARGE: usize = 256 << 10;
const DELIVERED_BY_THEN: usize = 2 * MOST_AGAIN;
/// Bytes of spans that may come again after one kill: what is settled and not written down, and four
/// batches in flight.
const MOST_AGAIN: usize = (4 << 20) + 4 * (2 << 20);

fn request(number: u64) -> Vec<u8> {
    let id = |length: usize| [&number.to_be_bytes()[..], &[1; 8]].concat()[..length].to_vec();
    let small = usize::try_from(number * 31 % 3000).unwrap();
    let length = if (number / OF_A_LIFE).is_multiple_of(HEAVY) { LARGE } else { small };
    let name = format!("{number} {}", "x".repeat(length));
    let span = Span { name, trace_id: id(16), span_id: id(8), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A pipeline with its queue in `storage` that delivers to `backend`.
async fn pipeline(storage: &Path, backend: &str) -> Pipeline {
    let registry = Registry::new(&[]);
    let storage = Some(storage.to_owned());
    let pipeline = Pipeline::start(PipelineInputs {
        environment: BTreeMap::new(),
        detected: BTreeMap::new(),
        registry,
        storage,
    });
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
                } else {
                    // As it is asked to, in its way.
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    while senders.join_next().await.is_some() {}
}

/// A backend that remembers which spans it took.
#[derive(Debug, Default)]
struct Shelf {
    requests: AtomicU64,
    /// The victim's current life.
    life: AtomicU64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Each span with the last life that sent it.
    spans: BTreeMap<u64, u64>,
    /// Bytes that each life sent.
    bytes: BTreeMap<u64, usize>,
    /// Of these, bytes that a later life sent again.
    again: BTreeMap<u64, usize>,
}

impl Taken {
    fn take(&mut self, life: u64, span: Span) {
        let bytes = span.name.len();
        let number = u64::from_be_bytes(span.span_id.try_into().unwrap());
        match self.spans.insert(number, life) {
            Some(before) if before == life => return,
            Some(before) => *self.again.entry(before).or_default() += bytes,
            None => {}
        }
        *self.bytes.entry(life).or_default() += bytes;
    }
}

impl Shelf {
    /// Waits until this life sent so much.
    async fn reaches(&self, bytes: usize) {
        let life = self.life.load(Ordering::Relaxed);
        while self.taken.lock().unwrap().bytes.get(&life).is_none_or(|taken| *taken < bytes) {
            sleep(Duration::from_millis(5)).await;
        }
    }
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
        let life = self.life.load(Ordering::Relaxed);
        let mut taken = self.taken.lock().unwrap();
        scopes.flat_map(|scope| scope.spans).for_each(|span| taken.take(life, span));
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
    for life in 1..=rounds {
        shelf.life.store(life, Ordering::Relaxed);
        let lines = if life % 8 == 0 { 0 } else { random.usize(..200) };
        let moment = Duration::from_micros(random.u64(..20_000));
        let moment = async {
            if life % HEAVY == 0 {
                shelf.reaches(DELIVERED_BY_THEN).await;
            }
            sleep(moment).await;
        };
        let killed = kill_after(storage.path(), &backend, life * OF_A_LIFE, lines, moment);
        let more = tokio::time::timeout(Duration::from_mins(1), killed).await;
        acknowledged.extend(more.unwrap_or_else(|_| panic!("life {life} has stopped")));
    }
    shelf.life.store(rounds + 1, Ordering::Relaxed);
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
    receiver.shutdown(Duration::ZERO).await;
    let taken = shelf.taken.lock().unwrap();
    let lost: Vec<_> =
        acknowledged.iter().filter(|number| !taken.spans.contains_key(number)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    let most = taken.again.iter().max_by_key(|(_, bytes)| **bytes);
    let (again, bytes): (usize, usize) = (taken.again.values().sum(), taken.bytes.values().sum());
    writeln!(
        std::io::stdout(),
        "{rounds} kills: {} spans acknowledged, none lost; {again} of {bytes} bytes came again, \
         at most {most:?} after one",
        acknowledged.len()
    )
    .unwrap();
    assert!(most.is_none_or(|(_, bytes)| *bytes <= MOST_AGAIN), "life and bytes: {most:?}");
}

/// Lets the victim work, kills it after some lines and a moment more, and returns what it
/// acknowledged.
async fn kill_after(
    storage: &Path,
    backend: &str,
    first: u64,
    lines: usize,
    moment: impl Future<Output = ()>,
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
    // Its words are read meanwhile, so that it does not wait for that.
    let mut moment = pin!(moment);
    loop {
        tokio::select! {
            () = &mut moment => break,
            line = output.next_line() => {
                let line = line.unwrap().expect("the victim works until it is killed");
                acknowledged.extend(number(&line));
            }
        }
    }
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
