//! What goes wrong with backends; the ledger balances afterwards and meanwhile.

use super::*;
use crate::status::{BackendState, BreakerState};
use crate::{AuditStage, AuditVerdict, Ledger};
use server::Reply;

const MINUTE: Duration = Duration::from_mins(1);

fn http(host: &str) -> serde_json::Value {
    json!({"endpoint": format!("http://{host}:4318"), "compression": "none"})
}

/// A request with spans whose names have so many bytes each.
fn spans(count: usize, bytes: usize) -> Bytes {
    let name = |number: usize| format!("{number:04}{}", "x".repeat(bytes - 4));
    let span = |number| Span { name: name(number), ..Span::default() };
    let scope_spans =
        vec![ScopeSpans { spans: (0..count).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

impl Rig {
    async fn push_spans(&self, count: usize, bytes: usize) -> Result<(), Refusal> {
        self.pipeline.sink().accept(received(spans(count, bytes), count)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_breaker_opens_tries_and_closes() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::Refuse; 6]);
    let mut spec = http("b");
    spec["retryPolicy"] = json!({"initialBackoff": "1s", "maxBackoff": "1s"});
    spec["circuitBreaker"] = json!({"consecutiveFailures": 5, "openFor": "40s"});
    rig.configure(&[("b", spec)]).await;
    rig.push("one").await.unwrap();
    let state = |wanted| move |status: &PipelineStatus| status.backends[0].breaker.state == wanted;
    rig.wait("it opens", state(BreakerState::Open)).await;
    let opened = Instant::now();
    let breaker = rig.status("b").await.breaker;
    assert!((39.0..=40.0).contains(&breaker.until_seconds.unwrap()), "{breaker:?}");
    assert_eq!(rig.metric("circuit_open", "b"), 1);
    assert_eq!(rig.metric("send_failed_items_total", "b"), 5);
    // It is not being sent while the backend is left alone.
    let Ledger { waiting, retrying, in_flight, .. } = rig.status("b").await.ledger;
    assert_eq!((waiting, retrying, in_flight), (1, 1, 0));
    assert_eq!(rig.metric("in_flight_items", "b"), 0);
    rig.balance().await;
    // The sixth attempt fails, too: open again without five more.
    sleep(MINUTE).await;
    assert_eq!(rig.status("b").await.breaker.state, BreakerState::Open);
    assert_eq!(rig.metric("send_failed_items_total", "b"), 6);
    rig.wait("it closes", state(BreakerState::Closed)).await;
    assert!((80..82).contains(&opened.elapsed().as_secs()), "{:?}", opened.elapsed());
    rig.settle().await;
    assert_eq!(rig.metric("circuit_open", "b"), 0);
    assert_eq!(rig.server.taken("b"), ["one"]);
}

/// However long it was away: no pause grows beyond that of the circuit breaker.
#[tokio::test(start_paused = true)]
async fn a_backends_return_is_noticed_as_soon_as_the_circuit_breaker_tries() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::Refuse; 100]);
    let mut spec = http("b");
    spec["circuitBreaker"] = json!({"openFor": "2s"});
    rig.configure(&[("b", spec)]).await;
    rig.push("one").await.unwrap();
    let start = Instant::now();
    rig.settle().await;
    // At most 2 s after each failure, with what the clock of the test adds.
    assert!((190..=203).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// Senders wait while a backend takes less than they have, but not for one that takes nothing.
#[tokio::test(start_paused = true)]
async fn senders_are_no_faster_than_a_backend_that_flows() {
    let rig = Rig::with(&[("b", http("b"))]).await;
    let sink = rig.pipeline.sink();
    rig.push("one").await.unwrap();
    rig.settle().await;
    let waited = async |sink: &Arc<dyn crate::Sink>| {
        let start = Instant::now();
        if let Some(pace) = sink.pace(Signal::Traces) {
            pace.await;
        }
        start.elapsed()
    };
    assert_eq!(waited(&sink).await, Duration::ZERO);
    rig.server.script("b", vec![Reply::Hang; 100]);
    for _ in 0..20 {
        rig.push_spans(100, 10_000).await.unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(waited(&sink).await, Duration::from_millis(100));
    sleep(MINUTE).await;
    assert_eq!(rig.status("b").await.state, BackendState::Down);
    assert_eq!(waited(&sink).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_lets_nobody_in_is_left_alone() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::Http(401, "x", "y", ""); 1000]);
    rig.configure(&[("b", http("b"))]).await;
    for _ in 0..20 {
        rig.push("one").await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    // Five are lost, not twenty.
    rig.balance().await;
    assert_eq!(rig.status("b").await.dropped_items["rejected"], 5);
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_for_minutes_under_load_costs_nothing_and_delays_nobody() {
    for reply in
        [Reply::Refuse, Reply::Hang, Reply::Reset, Reply::Http(429, "retry-after", "3", "")]
    {
        let rig = Rig::new();
        rig.server.script("dead", vec![reply.clone(); 10_000]);
        rig.configure(&[("alive", http("alive")), ("dead", http("dead"))]).await;
        for number in 0..300 {
            rig.push(&format!("{number:03}")).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            if number % 20 == 0 {
                rig.balance().await;
            }
        }
        let taken = rig.server.received("alive");
        assert_eq!(taken.len(), 300);
        for pair in taken.windows(2) {
            assert!(pair[1].at - pair[0].at < Duration::from_millis(1010), "delayed by {reply:?}");
        }
        let status = rig.status("dead").await;
        assert_eq!((status.waiting_items, status.sent_items), (300, 0), "{reply:?}");
        rig.server.heal("dead");
        rig.settle().await;
        let mut names = rig.server.taken("dead");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 300, "{reply:?}");
        rig.pipeline.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waited_does_not_delay_what_is_new() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::Refuse; 10_000]);
    let latency = Duration::from_millis(100);
    rig.server.is_like("b", latency, usize::MAX);
    let mut spec = http("b");
    spec["circuitBreaker"] = json!({"openFor": "1s"});
    spec["retryPolicy"] = json!({"maxBackoff": "1s"});
    rig.configure(&[("b", spec)]).await;
    // 100 MB in 100,000 spans.
    for _ in 0..1000 {
        rig.push_spans(100, 1000).await.unwrap();
    }
    sleep(Duration::from_secs(10)).await;
    rig.server.heal("b");
    rig.wait("it is back", |status| status.backends[0].state == BackendState::Up).await;
    let back = Instant::now();
    let mut sent = Vec::new();
    while rig.status("b").await.waiting_items > 0 {
        let name = format!("new {}", sent.len());
        rig.push(&name).await.unwrap();
        sent.push((name, Instant::now()));
        sleep(Duration::from_millis(250)).await;
        rig.balance().await;
        assert!(back.elapsed() < Duration::from_secs(20));
        if rig.status("b").await.waiting_items < 50 {
            break;
        }
    }
    // Three lanes of 2 MB in 100 ms each: 60 MB and 60,000 spans a second.
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    rig.settle().await;
    let received = rig.server.received("b");
    for (name, at) in &sent {
        let holds = |received: &&server::Received| received.names().any(|known| known == *name);
        let arrived = received.iter().find(holds).unwrap().at;
        assert!(arrived - *at < Duration::from_millis(450), "{name} took {:?}", arrived - *at);
    }
    assert_eq!(rig.status("b").await.sent_items, 100_000 + sent.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn metrics_stay_in_order_and_one_at_a_time() {
    let rig = Rig::new();
    rig.server.script("b", [Reply::Hang, Reply::Refuse, Reply::Http(503, "x", "y", "")]);
    rig.server.is_like("b", Duration::from_millis(700), usize::MAX);
    rig.configure_signal(Signal::Metrics, &[("b", http("b"))], &[]).await;
    let refused = rig.push("trace").await.unwrap_err();
    assert_eq!(refused, Refusal::Unsupported { signal: Signal::Traces });
    for number in 0..30 {
        rig.push_signal(Signal::Metrics, &format!("{number:03}")).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    rig.settle().await;
    let taken = rig.server.taken("b");
    assert!(taken.len() == 30 && taken.is_sorted(), "{taken:?}");
    assert_eq!(rig.server.received("b")[0].path, "/v1/metrics");
}

#[tokio::test(start_paused = true)]
async fn signals_do_not_wait_for_each_other() {
    let rig = Rig::new();
    rig.server.script("dead", vec![Reply::Refuse; 10_000]);
    let backend =
        |host| json!({"backends": [{"name": "b", "spec": {"openTelemetry": http(host)}}]});
    let config = json!({"traces": backend("dead"), "logs": backend("alive")});
    rig.pipeline.reconfigure(serde_json::from_value(config).unwrap(), &BTreeMap::new()).await;
    rig.push("span").await.unwrap();
    sleep(MINUTE).await;
    rig.push_signal(Signal::Logs, "log").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.server.taken("alive"), ["log"]);
    let status = rig.pipeline.status().await;
    let waiting: Vec<_> = status.backends.iter().map(|b| (b.signal, b.waiting_items)).collect();
    assert_eq!(waiting, [(Signal::Traces, 1), (Signal::Logs, 0)]);
}

#[tokio::test(start_paused = true)]
async fn batches_become_as_small_as_the_backend_takes_them() {
    // Requests; spans in each; bytes of each; bytes that the backend takes; spans lost.
    for (requests, count, bytes, limit, lost) in [
        (20, 1, 10_000, 35_000, 0),
        (1, 20, 10_000, 35_000, 0),
        (3, 7, 10_000, 10_500, 0),
        (2, 2, 10_000, 9000, 4),
        // Far less than any batch is commonly.
        (50, 1, 20, 60, 0),
        (50, 1, 20, 10, 50),
    ] {
        let what = format!("{requests} {count} {bytes} {limit}");
        let rig = Rig::new();
        rig.server.is_like("b", Duration::ZERO, limit);
        rig.configure(&[("b", http("b"))]).await;
        for _ in 0..requests {
            rig.push_spans(count, bytes).await.unwrap();
        }
        rig.settle().await;
        let status = rig.status("b").await;
        assert_eq!(status.dropped_items["rejected"], lost, "{what}");
        assert_eq!(status.sent_items, (requests * count) as u64 - lost, "{what}");
        assert_eq!(rig.server.taken("b").len() as u64, status.sent_items, "{what}");
        // Nothing is tried over and over: besides one attempt a request, halving costs a few.
        let attempts = rig.server.received("b").len();
        assert!(attempts < 2 * requests * count + 20, "{what}: {attempts}");
    }
}

#[tokio::test(start_paused = true)]
async fn batches_grow_again_after_a_while() {
    let rig = Rig::new();
    rig.server.is_like("b", Duration::ZERO, 10_500);
    rig.configure(&[("b", http("b"))]).await;
    let push = async || {
        let before = rig.server.received("b").len();
        for _ in 0..10 {
            rig.push_spans(1, 10_000).await.unwrap();
        }
        rig.settle().await;
        rig.server.received("b").len() - before
    };
    assert!(push().await > 10);
    rig.server.is_like("b", Duration::ZERO, usize::MAX);
    assert_eq!(push().await, 10);
    sleep(10 * MINUTE).await;
    assert_eq!(push().await, 1);
    rig.balance().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_is_given_up() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::Refuse; 10_000]);
    let mut spec = http("b");
    spec["queue"] = json!({"maxAge": "1m"});
    spec["circuitBreaker"] = json!({"openFor": "5s"});
    rig.configure(&[("b", spec.clone())]).await;
    for _ in 0..50 {
        rig.push("one").await.unwrap();
        sleep(Duration::from_secs(2)).await;
    }
    rig.balance().await;
    let expired = rig.status("b").await.dropped_items["expired"];
    assert!((17..=21).contains(&expired), "{expired}");
    // Bounds change while it runs.
    spec["queue"] = json!({"maxAge": "1s", "size": 1000});
    rig.configure(&[("b", spec)]).await;
    sleep(Duration::from_secs(40)).await;
    let status = rig.status("b").await;
    assert_eq!((status.waiting_items, status.capacity_bytes), (0, 1000));
    let refused = rig.push_spans(1, 1000).await.unwrap_err();
    assert_eq!(refused, Refusal::TooLarge { limit: 1000 });
    rig.balance().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_charged_to_its_sources() {
    let rig = Rig::new();
    rig.server.script("b", [Reply::Partial(3)]);
    rig.configure(&[("b", http("b"))]).await;
    for (source, count) in [("otlp_grpc", 1), ("zipkin", 5)] {
        let received = Received { source: source.into(), ..received(spans(count, 10), count) };
        rig.pipeline.sink().accept(received).await.unwrap();
    }
    rig.settle().await;
    let sources = rig.status("b").await.sources;
    let of = |name: &str| (sources[name].delivered, sources[name].dropped.get("rejected").copied());
    assert_eq!((of("otlp_grpc"), of("zipkin")), ((0, Some(1)), (3, Some(2))));
}

#[tokio::test(start_paused = true)]
async fn a_trace_can_be_followed() {
    let rig = Rig::new();
    rig.server.script("b", [Reply::Http(503, "x", "y", "")]);
    rig.configure(&[("b", http("b"))]).await;
    let (trace_id, span_id) = (vec![7; 16], vec![8; 8]);
    let span = Span { trace_id, span_id, ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    rig.pipeline.sink().accept(received(request.into(), 1)).await.unwrap();
    let last = || {
        let audit = rig.pipeline.audit([7; 16]);
        let [span] = &audit.spans[..] else { panic!("one span: {audit:?}") };
        assert_eq!((&*span.span_id, &*span.source), ("0808080808080808", "test"));
        let last = span.stages.last().unwrap();
        (last.stage, last.verdict, last.backend.clone())
    };
    let backend = Some("b".to_owned());
    assert_eq!(last(), (AuditStage::Deliver, AuditVerdict::Waiting, backend.clone()));
    rig.settle().await;
    assert_eq!(last(), (AuditStage::Deliver, AuditVerdict::Delivered, backend.clone()));
    // Another backend takes its place: what the one before did stays known.
    rig.configure(&[("other", http("other"))]).await;
    assert_eq!(last(), (AuditStage::Deliver, AuditVerdict::Delivered, backend));
    assert!(rig.pipeline.audit([9; 16]).spans.is_empty());
}
