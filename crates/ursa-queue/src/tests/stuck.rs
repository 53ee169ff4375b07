//! A disk that does not answer, or answers with an error: what nobody may count on is refused, what
//! is settled is written down all the same, and the queue goes on.
//!
//! The file is a pipe in these tests: a write into a full one waits, and it cannot be synced.

use std::fs::File;
use std::io::{PipeReader, Read as _, pipe};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::Due;

const DEADLINE: Duration = Duration::from_secs(20);
const ONE: Want = Want { max_bytes: 0, ..ALL };
/// More than a pipe holds.
const LONG: usize = 300_000;

/// Has what is pushed from now on go there, as long as the segment is trusted.
fn redirect(queue: &Queue, file: File) {
    let worker = queue.inner.worker.as_ref().unwrap();
    worker.writer.lock().unwrap().redirect(file);
}

fn into_pipe(queue: &Queue) -> PipeReader {
    let (reader, writer) = pipe().unwrap();
    redirect(queue, File::from(OwnedFd::from(writer)));
    reader
}

/// What is in a directory whose queue is still open.
async fn stored(directory: &Path) -> Vec<u64> {
    let copy = copy(directory);
    numbers(&drain(&open(copy.path(), Options::default()).0).await)
}

async fn wait(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_write_that_hangs_and_a_sync_that_fails() {
    let directory = directory();
    let options = Options { cursor_lag: 3_000, ..Options::default() };
    let queue = Arc::new(open(directory.path(), options).0);
    for number in 0..9 {
        queue.push(record(number, 1_000)).await.unwrap();
    }
    let mut pipe = into_pipe(&queue);
    let mut pushes = JoinSet::new();
    let push = |number| {
        let queue = Arc::clone(&queue);
        async move { (number, queue.push(record(number, LONG)).await) }
    };
    pushes.spawn(push(100));
    let mut first = [0];
    pipe = spawn_blocking(move || {
        pipe.read_exact(&mut first).unwrap();
        pipe
    })
    .await
    .unwrap();
    pushes.spawn(push(101));
    // Nobody writes records any more. By time, and by how much it is, what is settled is written.
    queue.settle(queue.try_next(Lane::Live, &ONE).unwrap());
    wait("one is settled", async || stored(directory.path()).await == (1..9).collect::<Vec<_>>())
        .await;
    for _ in 1..9 {
        let batch = timeout(DEADLINE, queue.next(Lane::Live, &ONE)).await.unwrap().unwrap();
        queue.settle(batch);
    }
    wait("all are settled", async || stored(directory.path()).await.is_empty()).await;
    assert!(pushes.try_join_next().is_none(), "nothing is acknowledged meanwhile");

    // Now it takes all that is written, but cannot be synced. That file is trusted no more; what
    // waits behind goes into another.
    let all = spawn_blocking(move || pipe.read_to_end(&mut Vec::new()).unwrap());
    timeout(DEADLINE, queue.flush()).await.unwrap().unwrap();
    let pushed: std::collections::BTreeMap<_, _> = pushes.join_all().await.into_iter().collect();
    let words = pushed[&100].as_ref().unwrap_err().to_string();
    assert!(words.contains("Invalid argument"), "{words}");
    assert_eq!(pushed[&101], Ok(9));
    assert!(all.await.unwrap() > LONG);
    queue.push(record(102, 1_000)).await.unwrap();
    assert_eq!(stored(directory.path()).await, [101, 102]);
    assert_eq!(numbers(&drain(&queue).await), [101, 102]);
    assert!(queue.is_empty());
}

/// Nothing can be written, nor cut off: the segment is finished, and the next one is used at once.
#[test]
fn a_file_that_takes_nothing() {
    let directory = directory();
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), Options::default());
        for number in 0..4 {
            queue.push(record(number, 1_000)).await.unwrap();
            redirect(&queue, File::options().write(true).open("/dev/full").unwrap());
            let words = queue.push(record(100, 1_000)).await.unwrap_err().to_string();
            assert!(words.contains("No space left on device"), "{words}");
        }
        assert_eq!(segments(directory.path()).len(), 4);
        assert_eq!(stored(directory.path()).await, [0, 1, 2, 3]);
        assert_eq!(numbers(&drain(&queue).await), [0, 1, 2, 3]);
    });
}

/// A sync in time, and not before it is acknowledged, can fail, too: the segment is finished.
#[tokio::test(start_paused = true)]
async fn a_late_sync_that_fails_is_said_by_the_next_flush_only() {
    let directory = directory();
    let sync = Sync::Timer(Duration::from_millis(200));
    let (queue, _) = open(directory.path(), Options { sync, ..Options::default() });
    queue.push(record(0, 10)).await.unwrap();
    let pipe = into_pipe(&queue);
    let mut both = pin!(async { tokio::join!(queue.push(record(1, 10)), queue.flush()) });
    {
        // Whoever writes waits for this, and finds both then.
        let _writer = queue.inner.worker.as_ref().unwrap().writer.lock().unwrap();
        assert!(both.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let (pushed, flushed) = both.await;
    assert_eq!(pushed, Ok(1), "it is stored");
    flushed.unwrap_err();
    drop(pipe);
    queue.push(record(2, 10)).await.unwrap();
    queue.flush().await.unwrap();
    assert_eq!(segments(directory.path()).len(), 2);
    assert_eq!(numbers(&drain(&queue).await)[..], [0, 1, 2]);
}

#[test]
fn nothing_is_handed_out_when_too_much_is_not_written_down() {
    let directory = directory();
    let options = Options { cursor_lag: 3_000, ..Options::default() };
    let (queue, _) = open(directory.path(), options);
    runtime().block_on(async {
        for number in 0..9 {
            queue.push(record(number, 1_000)).await.unwrap();
        }
        queue.flush().await.unwrap();
    });
    // Nobody writes in a runtime that has ended.
    let ended = Builder::new_current_thread().enable_all().build().unwrap();
    let handle = ended.handle().clone();
    ended.shutdown_background();
    let entered = handle.enter();
    for _ in 0..3 {
        assert_eq!(queue.due_at(Lane::Live, &ONE), Due::Now);
        queue.settle(queue.try_next(Lane::Live, &ONE).unwrap());
    }
    assert_eq!(queue.due_at(Lane::Live, &ONE), Due::WhenRecorded);
    assert!(queue.try_next(Lane::Live, &ONE).is_none());
    drop(entered);
    runtime().block_on(async {
        assert_eq!(stored(directory.path()).await, (0..9).collect::<Vec<_>>());
        let (batch, flushed) = tokio::join!(queue.next(Lane::Live, &ONE), queue.flush());
        flushed.unwrap();
        assert!(batch.unwrap().numbers().flatten().eq([3]));
        assert_eq!(stored(directory.path()).await, (3..9).collect::<Vec<_>>());
    });
}

#[tokio::test]
async fn who_flushes_does_not_wait_for_what_others_push_meanwhile() {
    let directory = directory();
    let queue = Arc::new(open(directory.path(), Options::default()).0);
    let mut pushers = JoinSet::new();
    for _ in 0..4 {
        let queue = Arc::clone(&queue);
        pushers.spawn(async move {
            loop {
                if queue.push(record(0, 100)).await.is_err() {
                    drain(&queue).await;
                }
            }
        });
    }
    for _ in 0..20 {
        timeout(DEADLINE, queue.flush()).await.unwrap().unwrap();
    }
    pushers.shutdown().await;
    // And what is dropped then is free for others.
    queue.flush().await.unwrap();
    let queue = Arc::into_inner(queue).unwrap();
    drop(queue);
    open(directory.path(), Options::default());
}
