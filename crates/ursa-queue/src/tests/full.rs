//! A disk that is full: nothing half-written stays, what was acknowledged stays, and there is a way
//! back.
//!
//! The victim is this test binary again, with a limit on the size of its files: a write past it fails
//! with EFBIG after what fits was written, as one does on a full disk with ENOSPC.

use std::process::Command;

use super::*;

const DIRECTORY: &str = "URSA_QUEUE_FULL_DIRECTORY";
/// Blocks of 512 bytes, as `ulimit -f` counts.
const LIMIT_BLOCKS: u64 = 203;

const OPTIONS: Options = Options {
    capacity: 16 << 20,
    max_age: None,
    segment_bytes: 1 << 20,
    sync: Sync::BeforeAcknowledge,
    cache_bytes: 4096,
    cursor_lag: 4 << 20,
};

async fn fill(directory: &Path) {
    let (queue, _) = open(directory, OPTIONS);
    let lengths = [30_000, 3_000, 300, 8];
    let mut stored = Vec::new();
    let mut number = 0;
    // Ever smaller ones, until nothing fits at all.
    for length in lengths {
        let size = || std::fs::metadata(&segments(directory)[0]).unwrap().len();
        loop {
            let before = if stored.is_empty() { 0 } else { size() };
            number += 1;
            match queue.push(record(number, length)).await {
                Ok(_) => stored.push(number),
                Err(PushError::Storage(words)) => {
                    assert!(words.contains("File too large"), "{words}");
                    assert_eq!(size(), before, "something half-written stayed");
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(queue.counts().waiting_records, stored.len() as u64);
    }
    assert!(stored.len() > 10);
    // Several at once fail together.
    let together = tokio::join!(queue.push(record(0, 90_000)), queue.push(record(0, 90_000)));
    assert!(together.0.is_err() && together.1.is_err(), "{together:?}");
    assert_eq!(numbers(&drain(&queue).await), stored);
    queue.push(record(1, 8)).await.unwrap_err();
    // What was settled is written although nothing can be at the end of a file.
    queue.flush().await.unwrap();
    drop(queue);
    let (queue, recovered) = open(directory, OPTIONS);
    assert_eq!(recovered, Recovered::default());
    assert!(segments(directory).is_empty(), "the space was given back");
    // A new segment has room.
    queue.push(record(7, 30_000)).await.unwrap();
    assert_eq!(numbers(&drain(&queue).await), [7]);
    // A record for which there never is any leaves nothing behind.
    queue.flush().await.unwrap();
    drop(queue);
    let (queue, _) = open(directory, OPTIONS);
    queue.push(record(8, 200_000)).await.unwrap_err();
    assert!(segments(directory).is_empty(), "{:?}", segments(directory));
    queue.push(record(9, 20)).await.unwrap();
    assert_eq!(numbers(&drain(&queue).await), [9]);
    queue.flush().await.unwrap();
}

#[test]
fn a_full_disk_is_survived() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return runtime().block_on(fill(directory.as_ref()));
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!("trap '' XFSZ; ulimit -f {LIMIT_BLOCKS}; exec \"$0\" \"$@\"");
    let victim = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "tests::full::a_full_disk_is_survived", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&victim.stderr);
    assert!(victim.status.success(), "{words}");
    // And by whoever has no limit.
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), OPTIONS);
        queue.push(record(1, 500_000)).await.unwrap();
        assert_eq!(numbers(&drain(&queue).await), [1]);
    });
}
