//! Several backends, changes of the configuration, and the end.

use super::*;
use server::Reply;

fn spec(host: &str) -> serde_json::Value {
    json!({"endpoint": format!("{host}:4317")})
}

/// Room for five spans.
fn small(host: &str) -> serde_json::Value {
    json!({"endpoint": format!("{host}:4317"), "queue": {"size": 2000}})
}

fn down() -> Vec<Reply> {
    vec![Reply::Refuse; 10_000]
}

async fn push_all(rig: &Rig, names: std::ops::Range<usize>) {
    for number in names {
        rig.push(&format!("{number:03}")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_without_a_task() {
    let rig = Rig::new();
    let refused = rig.push("one").await.unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable { .. }), "{refused:?}");
    rig.configure(&[]).await;
    let refused = rig.push("one").await.unwrap_err();
    assert_eq!(refused, Refusal::Unsupported { signal: Signal::Traces });
    rig.configure(&[("a", spec("a"))]).await;
    rig.pipeline.sink().accept(received(Bytes::new(), 0)).await.unwrap();
    assert_eq!(rig.status("a").await.enqueued_items, 0);
    let sink = rig.pipeline.sink();
    rig.pipeline.shutdown(Duration::ZERO).await;
    let refused = sink.accept(received(span("one"), 1)).await.unwrap_err();
    assert!(matches!(refused, Refusal::Unavailable { .. }), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_delays_no_other() {
    let rig = Rig::new();
    rig.server.script("dead", down());
    rig.configure(&[("alive", spec("alive")), ("dead", small("dead"))]).await;
    for number in 0..40 {
        rig.push(&format!("{number:03}")).await.unwrap();
        sleep(Duration::from_millis(500)).await;
    }
    rig.balance().await;
    let (alive, dead) = (rig.status("alive").await, rig.status("dead").await);
    assert_eq!((alive.sent_items, alive.waiting_items), (40, 0));
    assert_eq!(dead.enqueued_items, 40);
    assert!(dead.dropped_items["queue_full"] > 30 && dead.waiting_items > 3, "{dead:?}");
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_pushes_back() {
    let rig = Rig::new();
    rig.server.script("a", down());
    rig.configure(&[("a", small("a"))]).await;
    let mut taken = 0;
    while rig.push(&format!("{taken:03}")).await.is_ok() {
        taken += 1;
    }
    let refused = rig.push("more").await.unwrap_err();
    assert!(matches!(refused, Refusal::Full { .. }), "{refused:?}");
    let status = rig.status("a").await;
    assert_eq!(
        (status.enqueued_items, status.waiting_items),
        (taken, usize::try_from(taken).unwrap())
    );
    assert_eq!(status.dropped_items.values().sum::<u64>(), 0);
    rig.balance().await;
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_configuration_changes() {
    let rig = Rig::new();
    rig.server.script("old", down());
    rig.configure(&[("a", spec("old"))]).await;
    push_all(&rig, 0..5).await;
    sleep(Duration::from_mins(1)).await;

    // The same backend elsewhere: what waits goes there at once, in order.
    let moved = Instant::now();
    rig.configure(&[("a", spec("new"))]).await;
    rig.settle().await;
    assert!(moved.elapsed() < Duration::from_millis(300));
    push_all(&rig, 5..8).await;
    rig.settle().await;
    let names: Vec<_> = (0..8).map(|number| format!("{number:03}")).collect();
    assert_eq!(rig.server.taken("new"), names);

    // The same again: not even the connection is made anew.
    rig.configure(&[("a", spec("new"))]).await;
    assert_eq!(rig.status("a").await.sent_items, 8);
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_removed_backend_is_still_sent() {
    let rig = Rig::new();
    rig.server.script("a", vec![Reply::Refuse; 3]);
    rig.configure(&[("a", spec("a")), ("b", spec("b"))]).await;
    push_all(&rig, 0..2).await;
    rig.configure(&[("b", spec("b"))]).await;
    assert!(rig.status("a").await.removed);
    push_all(&rig, 2..3).await;
    rig.wait("a is gone", |status| status.backends.len() == 1).await;
    assert_eq!(rig.server.taken("a"), ["000", "001"]);
    assert_eq!(rig.server.taken("b"), ["000", "001", "002"]);
    assert!(!rig.registry.encode().contains("queue_items{backend=\"a\""));
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_backend_that_returns_keeps_its_queue_and_one_that_does_not_is_given_up() {
    let rig = Rig::new();
    rig.server.script("a", down());
    rig.configure(&[("a", spec("a")), ("b", spec("b"))]).await;
    push_all(&rig, 0..2).await;
    rig.configure(&[("b", spec("b"))]).await;
    sleep(Duration::from_secs(200)).await;
    rig.configure(&[("a", spec("a2")), ("b", spec("b"))]).await;
    rig.settle().await;
    assert_eq!(rig.server.taken("a2"), ["000", "001"]);

    rig.configure(&[("a", spec("a"))]).await;
    push_all(&rig, 2..4).await;
    sleep(Duration::from_secs(1)).await;
    rig.configure(&[]).await;
    rig.wait("a is gone", |status| status.backends.is_empty()).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.metric("dropped_items_total", "a"), 2);
    assert_eq!(rig.metric("enqueued_items_total", "a"), 4);
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn removed_backends_that_wait_are_few() {
    let rig = Rig::new();
    for number in 0..7 {
        let name = format!("b{number}");
        rig.server.script(&name, down());
        rig.configure(&[(&name, spec(&name))]).await;
        rig.push("one").await.unwrap();
    }
    rig.configure(&[]).await;
    let names: Vec<_> =
        rig.pipeline.status().await.backends.into_iter().map(|backend| backend.name).collect();
    assert_eq!(names, ["b3", "b4", "b5", "b6"], "the latest");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.metric("dropped_items_total", "b0"), 1);
    rig.pipeline.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pipeline_ends_and_takes_nothing_more() {
    let rig = Rig::new();
    rig.server.script("a", down());
    rig.configure(&[("a", spec("a"))]).await;
    rig.push("one").await.unwrap();
    let (sink, registry) = (rig.pipeline.sink(), rig.registry.clone());
    drop(rig.pipeline);
    sleep(Duration::from_secs(1)).await;
    let lost =
        r#"dropped_items_total{backend="a",protocol="grpc",reason="expired",signal="traces"} 1"#;
    assert!(registry.encode().contains(lost));
    sink.accept(received(span("two"), 1)).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn shutting_down_sends_what_waits() {
    let rig = Rig::new();
    rig.server.script("a", vec![Reply::Http(503, "retry-after", "1000", "")]);
    rig.configure(&[("a", spec("a"))]).await;
    push_all(&rig, 0..3).await;
    // It waits a thousand seconds for the backend; the end does not.
    rig.wait("it failed", |status| status.backends[0].last_error.is_some()).await;
    let start = Instant::now();
    assert_eq!(rig.pipeline.shutdown(Duration::from_secs(5)).await, 0);
    assert_eq!(rig.server.taken("a").len(), 3);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn shutting_down_counts_what_it_gives_up() {
    let rig = Rig::new();
    rig.server.script("a", down());
    rig.configure(&[("a", spec("a")), ("b", spec("b"))]).await;
    push_all(&rig, 0..3).await;
    sleep(Duration::from_mins(1)).await;
    let start = Instant::now();
    let (registry, server) = (rig.registry.clone(), Arc::clone(&rig.server));
    assert_eq!(rig.pipeline.shutdown(Duration::from_secs(5)).await, 3);
    assert!(start.elapsed() >= Duration::from_secs(5));
    let lost =
        r#"dropped_items_total{backend="a",protocol="grpc",reason="expired",signal="traces"} 3"#;
    assert!(registry.encode().contains(lost));
    assert_eq!(server.taken("b").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn resource_attributes_are_put_on() {
    let rig = Rig::new();
    let config = json!({
        "facts": {"mesh": "default", "name": "cart-1", "version": "v2"},
        "resource": {"service.name": "cart"},
        "traces": {
            "backends": [{"name": "a", "spec": {"openTelemetry": spec("a")}}],
            "resourceAttributes": {"service.version": "{{version}}", "pod": "{{k8s.pod}}"},
        },
    });
    let config = serde_json::from_value(config).unwrap();
    rig.pipeline.reconfigure(config, &BTreeMap::new()).await;
    rig.push("one").await.unwrap();
    rig.settle().await;
    let received = rig.server.received("a");
    let spans = &received[0].request.resource_spans;
    let resource = spans[0].resource.as_ref().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|attribute| &*attribute.key).collect();
    assert!(keys.starts_with(&["service.name", "service.version"]), "{keys:?}");
    assert!(keys.ends_with(&["os.type", "service.instance.id"]), "{keys:?}");
    let warnings = rig.pipeline.status().await.warnings;
    assert_eq!(warnings, ["resource attribute pod is left out: k8s.pod has no value"]);
    rig.pipeline.shutdown(Duration::ZERO).await;
}
