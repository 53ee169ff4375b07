//! What becomes of one backend's batches.

use proptest::prelude::*;

use super::*;
use crate::rpc::Code;
use crate::status::BackendState;
use server::Reply;

const GRPC: &str = "b:4317";
const HTTP: &str = "http://b:4318";

/// Seconds after the first at which requests arrived, rounded down to halves.
fn arrivals(rig: &Rig) -> Vec<f64> {
    let received = rig.server.received("b");
    let first = received[0].at;
    let seconds = received.iter().map(|received| (received.at - first).as_secs_f64());
    seconds.map(|seconds| (seconds * 2.0).floor() / 2.0).collect()
}

#[tokio::test(start_paused = true)]
async fn spans_arrive_whole_with_their_headers() {
    for (endpoint, path, gzip) in [
        (GRPC, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", true),
        (HTTP, "/v1/traces", true),
        ("http://b:4318/otlp", "/otlp/v1/traces", false),
        ("http://b:4318/otlp/v1/traces/", "/otlp/v1/traces", false),
    ] {
        let spec = json!({
            "endpoint": endpoint,
            "compression": if gzip { "gzip" } else { "none" },
            "headers": {"X-Tenant": "shop"},
            "auth": {"bearerToken": "${TOKEN}"},
        });
        let rig = Rig::with(&[("backend", spec)]).await;
        for name in ["one", "two", "three"] {
            rig.push(name).await.unwrap();
        }
        rig.settle().await;
        assert_eq!(rig.server.taken("b"), ["one", "two", "three"]);
        let received = &rig.server.received("b")[..];
        let [batch] = received else { panic!("one batch: {received:?}") };
        assert_eq!(batch.path, path);
        assert_eq!(batch.headers["x-tenant"], "shop");
        assert_eq!(batch.headers["authorization"], "Bearer t0ps3cret");
        let status = rig.status("backend").await;
        assert_eq!((status.state, status.sent_items), (BackendState::Up, 3));
        assert_eq!(rig.pipeline.shutdown(Duration::from_secs(1)).await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_or_counted_as_the_protocol_says() {
    use Reply::{Grpc, Hang, Http, Partial, Refuse};
    let http = |status, header, value| Http(status, header, value, "");
    /// Endpoint; answers; seconds of the attempts, at least, and less than two more; losses.
    type Case = (&'static str, Vec<Reply>, &'static [f64], &'static [(&'static str, u64)]);
    let cases: [Case; 20] = [
        (HTTP, vec![http(429, "retry-after", "7")], &[0.0, 7.0], &[]),
        (HTTP, vec![http(503, "retry-after", "100")], &[0.0, 100.0], &[]),
        (HTTP, vec![http(502, "x", "y"), http(504, "x", "y")], &[0.0, 0.5, 1.5], &[]),
        (HTTP, vec![http(400, "x", "y")], &[0.0], &[("rejected", 1)]),
        (HTTP, vec![http(401, "x", "y")], &[0.0], &[("rejected", 1)]),
        (HTTP, vec![http(413, "x", "y")], &[0.0], &[("rejected", 1)]),
        (HTTP, vec![http(500, "retry-after", "1")], &[0.0], &[("rejected", 1)]),
        (HTTP, vec![http(301, "location", "/x")], &[0.0], &[("rejected", 1)]),
        (HTTP, vec![Partial(1)], &[0.0], &[("rejected", 1)]),
        (HTTP, vec![Hang], &[0.0, 10.5], &[]),
        (HTTP, vec![http(503, "retry-after", "0")], &[0.0, 0.5], &[]),
        (GRPC, vec![Grpc(Code(17), "new", None)], &[0.0], &[("rejected", 1)]),
        (GRPC, vec![Partial(-1)], &[0.0], &[]),
        (GRPC, vec![Grpc(Code::UNAVAILABLE, "later", Some(5))], &[0.0, 5.0], &[]),
        (GRPC, vec![Grpc(Code::RESOURCE_EXHAUSTED, "busy", Some(3))], &[0.0, 3.0], &[]),
        (GRPC, vec![Grpc(Code::RESOURCE_EXHAUSTED, "big", None)], &[0.0], &[("rejected", 1)]),
        (GRPC, vec![Grpc(Code::INVALID_ARGUMENT, "bad", None)], &[0.0], &[("rejected", 1)]),
        (GRPC, vec![http(503, "x", "y")], &[0.0, 0.5], &[]),
        (GRPC, vec![Partial(1)], &[0.0], &[("rejected", 1)]),
        (GRPC, vec![Hang, Refuse], &[0.0, 11.5], &[]),
    ];
    for (endpoint, replies, expected, losses) in cases {
        let what = format!("{endpoint} {replies:?}");
        let rig = Rig::new();
        rig.server.script("b", replies);
        rig.configure(&[("backend", json!({"endpoint": endpoint}))]).await;
        rig.push("one").await.unwrap();
        rig.settle().await;
        let seconds = arrivals(&rig);
        assert_eq!(seconds.len(), expected.len(), "{what}: {seconds:?}");
        for (seconds, expected) in seconds.iter().zip(expected) {
            assert!((expected..&(expected + 2.0)).contains(&seconds), "{what}: {seconds:?}");
        }
        let status = rig.status("backend").await;
        let lost = status.dropped_items.iter().filter(|(_, lost)| **lost > 0);
        let lost: Vec<_> = lost.map(|(reason, lost)| (&**reason, *lost)).collect();
        assert_eq!(lost, losses, "{what}");
        rig.pipeline.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn retries_end_where_the_policy_says() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::Http(503, "x", "y", "down"); 3]);
    let policy = json!({"maxRetries": 2, "initialBackoff": "10s", "maxBackoff": "15s"});
    rig.configure(&[("backend", json!({"endpoint": HTTP, "retryPolicy": policy}))]).await;
    rig.push("one").await.unwrap();
    rig.settle().await;
    let status = rig.status("backend").await;
    assert_eq!((status.state, status.dropped_items["retry_exhausted"]), (BackendState::Down, 1));
    assert_eq!(status.last_error.unwrap(), "503 Service Unavailable: down");
    assert_eq!(rig.metric("retries_total", "backend"), 2);
    assert_eq!(rig.metric("send_failed_items_total", "backend"), 3);
    assert_eq!(rig.metric("exporter_up", "backend"), 0);
    rig.push("two").await.unwrap();
    rig.settle().await;
    assert_eq!(rig.server.taken("b"), ["two"]);
    assert_eq!(rig.status("backend").await.last_error, None);
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_the_backend_closed_cost_nothing() {
    let rig = Rig::new();
    rig.server.script("b", vec![Reply::TakeAndClose; 3]);
    rig.configure(&[("backend", json!({"endpoint": HTTP}))]).await;
    for name in ["one", "two", "three"] {
        rig.push(name).await.unwrap();
        rig.settle().await;
    }
    assert_eq!(rig.server.taken("b"), ["one", "two", "three"]);
    assert_eq!(rig.metric("send_failed_items_total", "backend"), 0);
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn secrets_are_not_shown() {
    let rig = Rig::new();
    let echo = "no such tokens: t0ps3cret, k3yk3y";
    rig.server.script("b", [Reply::Http(503, "x", "y", echo)]);
    let spec = json!({"endpoint": HTTP, "auth": {"bearerToken": "${TOKEN}"}, "headers": {"k": "${secret:key}"}});
    rig.configure_with(&[("backend", spec)], &[("key", "k3yk3y")]).await;
    rig.push("one").await.unwrap();
    rig.wait("it failed", |status| status.backends[0].state == BackendState::Down).await;
    let error = rig.status("backend").await.last_error.unwrap();
    assert_eq!(error, "503 Service Unavailable: no such tokens: [redacted], [redacted]");
    rig.settle().await;
    let shown = format!("{:?} {:?}", rig.pipeline, rig.pipeline.status().await);
    assert!(!shown.contains("t0ps3cret") && !shown.contains("k3yk3y"), "{shown}");
    assert_eq!(rig.server.received("b")[1].headers["k"], "k3yk3y");
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn an_unset_name_blocks_visibly_while_telemetry_waits() {
    let rig = Rig::new();
    let spec = json!({"endpoint": GRPC, "headers": {"k": "${secret:key}"}});
    rig.configure(&[("backend", spec.clone())]).await;
    rig.push("one").await.unwrap();
    rig.wait("blocked", |status| status.backends[0].state == BackendState::Blocked).await;
    let status = rig.status("backend").await;
    assert_eq!(status.last_error.unwrap(), "k: ${secret:key} is not set");
    assert_eq!((status.waiting_items, rig.server.received("b").len()), (1, 0));
    rig.balance().await;
    rig.configure_with(&[("backend", spec)], &[("key", "k3yk3y")]).await;
    rig.settle().await;
    assert_eq!(rig.server.taken("b"), ["one"]);
    rig.pipeline.shutdown(Duration::ZERO).await;
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        4 => Just(Reply::Take),
        1 => Just(Reply::TakeAndClose),
        2 => Just(Reply::Http(503, "x", "y", "")),
        1 => Just(Reply::Http(429, "retry-after", "2", "")),
        1 => Just(Reply::Http(400, "x", "y", "")),
        1 => Just(Reply::Refuse),
        1 => Just(Reply::Hang),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the backend does: what was acknowledged arrives once, of metrics in order, or is
    /// counted.
    #[test]
    fn acknowledged_is_delivered_or_counted(
        replies in prop::collection::vec(reply(), 0..12),
        pauses in prop::collection::vec(0..3000_u64, 1..20),
        signal in prop_oneof![Just(Signal::Traces), Just(Signal::Metrics)],
    ) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new();
            rig.server.script("b", replies);
            rig.configure_signal(signal, &[("backend", json!({"endpoint": HTTP}))], &[]).await;
            let mut pushed = Vec::new();
            for (number, pause) in pauses.into_iter().enumerate() {
                let name = format!("{number:03}");
                rig.push_signal(signal, &name).await.unwrap();
                pushed.push(name);
                sleep(Duration::from_millis(pause)).await;
            }
            rig.settle().await;
            let mut taken = rig.server.taken("b");
            if signal == Signal::Traces {
                taken.sort();
            }
            assert!(taken.is_sorted_by(|one, other| one < other), "{taken:?}");
            let status = rig.status("backend").await;
            assert_eq!(status.enqueued_items, pushed.len() as u64);
            assert_eq!(status.sent_items, taken.len() as u64);
            assert!(taken.iter().all(|name| pushed.contains(name)));
            rig.pipeline.shutdown(Duration::ZERO).await;
        });
    }
}
