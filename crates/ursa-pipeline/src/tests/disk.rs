//! Queues on disk: restarts, directories, and disks that do not work.

use super::*;
use crate::Storage;
use server::Reply;

fn spec(host: &str) -> serde_json::Value {
    json!({"endpoint": format!("http://{host}:4318")})
}

fn down() -> Vec<Reply> {
    vec![Reply::Refuse; 10_000]
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_delivered_after_a_restart() {
    for gently in [false, true] {
        let storage = tempfile::tempdir().unwrap();
        let rig = Rig::stored(Some(storage.path()));
        rig.server.script("b", down());
        rig.configure(&[("b", spec("b"))]).await;
        for number in 0..100 {
            rig.push(&format!("{number:03}")).await.unwrap();
        }
        sleep(Duration::from_secs(5)).await;
        let status = rig.status("b").await;
        assert_eq!((status.storage, status.waiting_items), (Storage::Disk, 100));
        assert!(status.storage_path.unwrap().starts_with(storage.path().to_str().unwrap()));
        rig.balance().await;
        let sink = rig.pipeline.sink();
        if gently {
            let start = Instant::now();
            assert_eq!(rig.pipeline.shutdown(Duration::from_mins(1)).await, 0, "it is not lost");
            assert!(start.elapsed() < Duration::from_secs(5), "nor waited for");
        } else {
            drop(rig.pipeline);
        }
        sink.accept(received(span("late"), 1)).await.unwrap_err();

        let rig = rig_on(storage.path()).await;
        rig.configure(&[("b", spec("b"))]).await;
        let status = rig.status("b").await;
        assert_eq!((status.ledger.recovered, status.sources["queue"].received), (100, 100));
        rig.settle().await;
        assert_eq!(rig.server.taken("b").len(), 100);
        assert_eq!(rig.metric("recovered_items_total", "b"), 100);
        rig.push("new").await.unwrap();
        rig.settle().await;
        assert_eq!(rig.server.taken("b").len(), 101);
        rig.pipeline.shutdown(Duration::from_secs(1)).await;
        // What was delivered is not delivered again.
        let rig = rig_on(storage.path()).await;
        rig.configure(&[("b", spec("b"))]).await;
        assert_eq!(rig.status("b").await.ledger.recovered, 0);
    }
}

/// Once the one before has let its directories go.
async fn rig_on(storage: &Path) -> Rig {
    let queues = || std::fs::read_dir(storage.join("traces")).into_iter().flatten();
    let is_free = |queue: std::io::Result<std::fs::DirEntry>| {
        let lock = std::fs::File::open(queue.unwrap().path().join("queue/lock"));
        lock.is_ok_and(|lock| lock.try_lock().is_ok())
    };
    let deadline = Instant::now() + Duration::from_hours(1);
    while !queues().all(is_free) {
        assert!(Instant::now() < deadline, "a directory is still locked");
        sleep(Duration::from_millis(10)).await;
    }
    Rig::stored(Some(storage))
}

#[tokio::test(start_paused = true)]
async fn directories_of_removed_backends_go_when_they_are_empty_and_wait_otherwise() {
    let storage = tempfile::tempdir().unwrap();
    let rig = Rig::stored(Some(storage.path()));
    rig.server.script("dead", down());
    rig.configure(&[("a", spec("alive")), ("d", spec("dead"))]).await;
    rig.push("one").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let directories = || std::fs::read_dir(storage.path().join("traces")).unwrap().count();
    assert_eq!(directories(), 2);
    rig.configure(&[]).await;
    assert_eq!(directories(), 1);
    sleep(Duration::from_mins(6)).await;
    let status = rig.pipeline.status().await;
    assert!(status.backends.is_empty());
    rig.configure(&[]).await;
    let orphaned = rig.pipeline.status().await.orphaned;
    assert_eq!((orphaned.len(), &*orphaned[0].backend), (1, "d"));
    assert_eq!(rig.metric("dropped_items_total", "d"), 0);
    rig.configure(&[("d", spec("alive"))]).await;
    // Its metrics go on from before, its ledger begins anew: what this process has counted as received
    // is not counted again.
    rig.wait("it is sent", |status| status.backends[0].sent_items == 1).await;
    let ledger = rig.status("d").await.ledger;
    assert_eq!((ledger.recovered, ledger.difference), (1, 0));
    let metric = |name| rig.metric(name, "d");
    let counted = ["enqueued_items_total", "recovered_items_total", "sent_items_total"].map(metric);
    assert_eq!((counted, metric("queue_items")), ([1, 0, 1], 0));
    assert_eq!(rig.server.taken("alive"), ["one", "one"]);
    assert!(rig.pipeline.status().await.orphaned.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_disk_what_waits_is_in_memory_and_it_is_said() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rig = Rig::stored(Some(file.path()));
    rig.configure(&[("b", spec("b"))]).await;
    rig.push("one").await.unwrap();
    rig.settle().await;
    let status = rig.pipeline.status().await;
    assert_eq!(status.backends[0].storage, Storage::Memory);
    assert!(
        status.warnings[0].starts_with("what waits for b (traces) is kept in memory: "),
        "{status:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn where_it_waits_can_be_changed() {
    let storage = tempfile::tempdir().unwrap();
    let rig = Rig::stored(Some(storage.path()));
    rig.server.script("b", down());
    let memory = json!({"endpoint": "http://b:4318", "queue": {"onDisk": false}});
    for (spec, kept) in
        [(spec("b"), Storage::Disk), (memory, Storage::Memory), (spec("b"), Storage::Disk)]
    {
        rig.configure(&[("b", spec)]).await;
        rig.push("one").await.unwrap();
        let status = rig.pipeline.status().await;
        let active = status.backends.iter().find(|backend| !backend.removed).unwrap();
        assert_eq!(active.storage, kept);
    }
    rig.server.heal("b");
    rig.wait("all is sent", |status| status.backends.iter().all(|b| b.waiting_items == 0)).await;
    assert_eq!(rig.server.taken("b").len(), 3);
}

/// The wall clock was wrong when what waits was stored, in either direction, and is right now.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumped_loses_nothing() {
    let year = 365 * 24 * 3600 * 1_000_000_u64;
    for wall in [0, 30 * year, 300 * year, u64::MAX] {
        let storage = tempfile::tempdir().unwrap();
        let rig = Rig::stored(Some(storage.path()));
        rig.server.script("b", down());
        let mut spec = spec("b");
        spec["queue"] = json!({"maxAge": "1h"});
        rig.configure(&[("b", spec.clone())]).await;
        for number in 0..10 {
            rig.push(&format!("{number}")).await.unwrap();
            sleep(Duration::from_mins(2)).await;
        }
        let queue = rig.status("b").await.storage_path.unwrap();
        rig.pipeline.shutdown(Duration::ZERO).await;
        for file in std::fs::read_dir(Path::new(&queue).join("queue")).unwrap() {
            set_wall(&file.unwrap().path(), wall);
        }
        let rig = rig_on(storage.path()).await;
        rig.configure(&[("b", spec)]).await;
        assert_eq!(rig.status("b").await.ledger.recovered, 10);
        // It was 20 minutes old, and counts for no more than half an hour older.
        sleep(Duration::from_secs(5)).await;
        rig.settle().await;
        assert_eq!(rig.server.taken("b").len(), 10, "{wall}");
        assert_eq!(rig.status("b").await.dropped_items["expired"], 0);
    }
}

/// Changes when a segment says that it was begun.
fn set_wall(path: &Path, wall: u64) {
    if path.extension().is_some_and(|ending| ending == "segment") {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[32..40].copy_from_slice(&wall.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..44]);
        bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
        std::fs::write(path, bytes).unwrap();
    }
}

/// The one whose queue was on disk ends later, and takes nothing of what is shown of the other with it.
#[tokio::test(start_paused = true)]
async fn a_backend_whose_queue_moves_to_memory_goes_on_being_shown() {
    let storage = tempfile::tempdir().unwrap();
    let rig = Rig::stored(Some(storage.path()));
    rig.server.script("old", down());
    rig.configure(&[("b", spec("old"))]).await;
    rig.push("kept").await.unwrap();
    let in_memory = json!({"endpoint": "http://new:4318", "queue": {"onDisk": false}});
    rig.configure(&[("b", in_memory)]).await;
    rig.push("new").await.unwrap();
    let kinds = |status: &PipelineStatus| {
        let kinds = status.backends.iter().map(|one| (one.removed, one.storage));
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(rig.pipeline.status().await.backends.len(), 2);
    let alone = [(false, Storage::Memory)];
    rig.wait("the old one is gone", |status| kinds(status) == alone).await;
    let shown = rig.registry.encode();
    assert!(shown.contains("ursa_pipeline_queue_items{backend=\"b\""), "{shown}");
    assert_eq!(rig.status("b").await.sent_items, 1);
    rig.pipeline.shutdown(Duration::ZERO).await;
}
