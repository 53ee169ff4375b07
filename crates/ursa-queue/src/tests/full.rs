//! A disk that is full: nothing half-written stays, what was acknowledged stays, and there is a way
//! back.
//!
//! The victim is this test binary again, with a limit on the size of its files: a write past it fails
//! with EFBIG after what fits was written, as one does on a full disk with ENOSPC.

use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};

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

/// Runs a test as a process that is told of a full disk by an error, and not by a signal.
fn run_again(test: &str, directory: &Path, first: &str) {
    let victim = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; {first} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tests::full::{test}"), "--nocapture"])
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&victim.stderr);
    assert!(victim.status.success(), "{words}");
    let words = String::from_utf8_lossy(&victim.stdout);
    assert!(words.contains(" 1 passed"), "{words}");
}

#[test]
fn a_full_disk_is_survived() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return runtime().block_on(fill(directory.as_ref()));
    }
    let directory = tempfile::tempdir().unwrap();
    run_again("a_full_disk_is_survived", directory.path(), &format!("ulimit -f {LIMIT_BLOCKS};"));
    // And by whoever has no limit.
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), OPTIONS);
        queue.push(record(1, 500_000)).await.unwrap();
        assert_eq!(numbers(&drain(&queue).await), [1]);
    });
}

/// Lets every write to a file fail, or none.
fn may_write(may: bool) {
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = if may { limit.maximum } else { Some(0) };
    setrlimit(Resource::Fsize, limit).unwrap();
}

async fn nothing_for_a_while(directory: &Path) {
    let options = Options { cursor_lag: 2_000, ..OPTIONS };
    let (queue, _) = open(directory, options);
    for number in 0..20 {
        queue.push(record(number, 1_000)).await.unwrap();
    }
    let one = Want { max_bytes: 0, ..ALL };
    for round in 0..3 {
        may_write(false);
        for number in 100..105 {
            let refused = queue.push(record(number, 1_000)).await.unwrap_err();
            assert!(matches!(refused, PushError::Storage(_)), "{refused}");
        }
        // What is there is handed out, though nobody can write down what is settled.
        for number in 4 * round..4 * round + 4 {
            let mut batch = queue.next(Lane::Live, &one).await.unwrap();
            assert_eq!(numbers(&queue.read(&mut batch).await.unwrap().records), [number]);
            queue.settle(batch);
        }
        may_write(true);
        queue.push(record(20 + round, 1_000)).await.unwrap();
    }
    assert_eq!(queue.counts().waiting_records, 11);
    queue.flush().await.unwrap();
}

/// And takes everything again, over and over, while the queue is used.
#[test]
fn a_disk_that_takes_nothing_for_a_while() {
    let test = "a_disk_that_takes_nothing_for_a_while";
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return runtime().block_on(nothing_for_a_while(directory.as_ref()));
    }
    let directory = tempfile::tempdir().unwrap();
    run_again(test, directory.path(), "");
    runtime().block_on(async {
        let (queue, recovered) = open(directory.path(), OPTIONS);
        assert_eq!((recovered.damaged_records, recovered.damaged_bytes), (0, 0));
        assert_eq!(numbers(&drain(&queue).await), (12..23).collect::<Vec<_>>());
    });
}
