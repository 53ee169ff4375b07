//! Who waits for what, and for how long.

use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::Due;

const WANT: Want =
    Want { max_bytes: 10_000, batch_bytes: 5_000, batch_age: Duration::from_millis(200) };

/// Runs with a queue of each kind.
fn with_both<F: Future<Output = ()>>(options: Options, test: impl Fn(Queue) -> F) {
    runtime().block_on(async { test(Queue::memory(options)).await });
    let directory = directory();
    runtime().block_on(async {
        test(open(directory.path(), options).0).await;
    });
}

#[test]
fn a_batch_is_due_by_age_by_size_and_at_the_end() {
    with_both(Options::default(), |queue| async move {
        assert_eq!(queue.due_at(Lane::Live, &WANT), Due::WhenPushed);
        let start = Instant::now();
        queue.push(record(0, 100)).await.unwrap();
        assert_eq!(queue.due_at(Lane::Live, &WANT), Due::At(start + WANT.batch_age));
        advance(Duration::from_millis(150)).await;
        queue.push(record(1, 100)).await.unwrap();
        let batch = queue.next(Lane::Live, &WANT).await.unwrap();
        assert_eq!((batch.records, batch.first_at), (2, start));
        assert!(start.elapsed() >= WANT.batch_age);
        queue.settle(batch);

        let start = Instant::now();
        let (batch, pushed) = tokio::join!(queue.next(Lane::Live, &WANT), async {
            queue.push(record(2, 2_500)).await.unwrap();
            queue.push(record(3, 2_500)).await.unwrap()
        });
        assert_eq!((batch.unwrap().bytes, pushed), (5_000, 3));
        assert_eq!(start.elapsed(), Duration::ZERO);

        // It was dropped, not settled.
        queue.close();
        let batch = queue.next(Lane::Live, &WANT).await.unwrap();
        assert_eq!(batch.records, 2);
        let (again, ()) = tokio::join!(queue.next(Lane::Live, &WANT), async {
            tokio::task::yield_now().await;
            queue.release(batch);
        });
        queue.settle(again.unwrap());
        assert!(queue.next(Lane::Live, &WANT).await.is_none());
    });
}

#[test]
fn who_pushes_may_wait_until_less_waits() {
    with_both(Options::default(), |queue| async move {
        queue.room(0).await;
        for number in 0..3 {
            queue.push(record(number, 4_000)).await.unwrap();
        }
        assert!(queue.is_crowded(8_000));
        let second = Duration::from_secs(1);
        timeout(second, queue.room(8_000)).await.unwrap_err();
        let (room, batch) = tokio::join!(timeout(second, queue.room(8_000)), async {
            tokio::task::yield_now().await;
            queue.try_next(Lane::Live, &WANT)
        });
        room.unwrap();
        // What comes back waits again; a closed queue is waited for by nobody.
        queue.release(batch.unwrap());
        assert!(queue.is_crowded(8_000));
        queue.close();
        queue.room(0).await;
    });
}

/// A backlog in flight is not overtaken by what is live in its own lane, and lanes become one again.
#[test]
fn lanes_are_apart_until_the_backlog_is_gone() {
    with_both(Options::default(), |queue| async move {
        for number in 0..4 {
            queue.push(record(number, 100)).await.unwrap();
        }
        let two = Want { max_bytes: 200, batch_bytes: 0, ..WANT };
        let first = queue.next(Lane::Live, &two).await.unwrap();
        queue.split_lanes();
        queue.push(record(4, 100)).await.unwrap();
        let live = queue.next(Lane::Live, &two).await.unwrap();
        assert!(live.numbers().flatten().eq([4]));
        queue.settle(live);
        assert_eq!(queue.counts().backlog_items, 2);
        queue.release(first);
        let first = queue.next(Lane::Backlog, &two).await.unwrap();
        let second = queue.next(Lane::Backlog, &two).await.unwrap();
        assert!(first.numbers().chain(second.numbers()).eq([0..2, 2..4]));
        assert!(queue.try_next(Lane::Backlog, &two).is_none());
        queue.settle(second);
        queue.release(first);
        queue.push(record(5, 100)).await.unwrap();
        assert!(queue.try_next(Lane::Live, &two).unwrap().numbers().flatten().eq([5]));
        queue.settle(queue.try_next(Lane::Backlog, &two).unwrap());
        assert!(queue.try_next(Lane::Backlog, &two).is_none());
        assert_eq!(queue.counts().waiting_items, 1);
    });
}

/// Pushed together, written together, numbered in order, each acknowledged.
#[tokio::test]
async fn many_push_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, _) = open(directory.path(), Options::default());
    let queue = std::sync::Arc::new(queue);
    let mut pushers = tokio::task::JoinSet::new();
    for pusher in 0..200_u64 {
        let queue = std::sync::Arc::clone(&queue);
        pushers.spawn(async move {
            let mut pushed = Vec::new();
            for round in 0..20 {
                let mine = pusher * 1000 + round;
                pushed.push((queue.push(record(mine, 600)).await.unwrap(), mine));
            }
            pushed
        });
    }
    let mut pushed: Vec<(u64, u64)> = pushers.join_all().await.concat();
    pushed.sort_unstable();
    let counts = queue.counts();
    assert_eq!((counts.waiting_records, counts.stored_bytes), (4000, 4000 * 640));
    let all = numbers(&drain(&queue).await);
    assert!(pushed.into_iter().eq((0..).zip(all)));
}

#[test]
fn what_is_not_synced_at_once_is_synced_in_time() {
    runtime().block_on(async {
        let after = Duration::from_millis(200);
        let directory = directory();
        let options = Options { sync: Sync::Timer(after), ..Options::default() };
        let (queue, _) = open(directory.path(), options);
        for number in 0..3 {
            queue.push(record(number, 10)).await.unwrap();
            advance(after).await;
        }
        timeout(Duration::from_secs(1), queue.flush()).await.unwrap().unwrap();
        drop(queue);
        assert_eq!(open(directory.path(), options).1.records, 3);
    });
}

/// Ages go on across restarts, by no more than the wall clock says, and by no more than half of what
/// is too old.
#[test]
fn ages_survive_a_restart_and_a_wrong_clock() {
    let directory = directory();
    let options = Options { max_age: Some(Duration::from_hours(2)), ..Options::default() };
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), options);
        queue.push(record(0, 10)).await.unwrap();
        advance(Duration::from_mins(30)).await;
        queue.push(record(1, 10)).await.unwrap();
        queue.flush().await.unwrap();
    });
    // The wall clock was wrong by years then, backward or forward, or is now.
    for (wrong, age) in [(0, 30), (u64::MAX / 2, 30), (1_000_000, 90)] {
        let copy = copy(directory.path());
        let segment = &segments(copy.path())[0];
        let mut bytes = std::fs::read(segment).unwrap();
        if wrong > 0 {
            bytes[32..40].copy_from_slice(&wrong.to_le_bytes());
            let checksum = crc32c::crc32c(&bytes[..44]);
            bytes[44..48].copy_from_slice(&checksum.to_le_bytes());
        }
        std::fs::write(segment, bytes).unwrap();
        runtime().block_on(async {
            let (queue, _) = open(copy.path(), options);
            let oldest = queue.counts().oldest.unwrap();
            assert_eq!(oldest.as_secs() / 60, age, "{wrong}");
            assert_eq!(queue.expire(Instant::now()).records, 0);
            advance(Duration::from_mins(121 - age)).await;
            assert_eq!(queue.expire(Instant::now()).records, 1);
            advance(Duration::from_mins(30)).await;
            assert_eq!(queue.expire(Instant::now()).records, 1);
        });
    }
}

/// Files come and go with what is stored, in whatever order it is settled.
#[test]
fn space_is_given_back() {
    let directory = directory();
    let options = Options { capacity: 1 << 20, cache_bytes: 0, ..Options::default() };
    runtime().block_on(async {
        let (queue, _) = open(directory.path(), options);
        for number in 0..200 {
            queue.push(record(number, 4_000)).await.unwrap();
        }
        let count = segments(directory.path()).len();
        assert!((10..=14).contains(&count), "{count}");
        let want = Want { max_bytes: 80_000, batch_bytes: 0, ..WANT };
        let mut batches = Vec::new();
        while let Some(batch) = queue.try_next(Lane::Live, &want) {
            batches.push(batch);
        }
        let first = batches.remove(0);
        for batch in batches.into_iter().rev() {
            queue.settle(batch);
        }
        queue.flush().await.unwrap();
        assert!(segments(directory.path()).len() <= 3);
        queue.settle(first);
        queue.flush().await.unwrap();
        assert_eq!(segments(directory.path()).len(), 1);
        queue.push(record(200, 4_000)).await.unwrap();
        queue.flush().await.unwrap();
        drop(queue);
        let (queue, recovered) = open(directory.path(), options);
        assert_eq!((recovered.records, recovered.damaged_records), (1, 0));
        assert_eq!(numbers(&drain(&queue).await), [200]);
    });
}

/// A runtime that has ended writes nothing: what is pushed in it is refused, and the queue goes on in
/// another.
#[test]
fn a_runtime_that_has_ended_is_not_waited_for() {
    let directory = directory();
    let (queue, _) = open(directory.path(), Options::default());
    let ended = Builder::new_current_thread().build().unwrap();
    let handle = ended.handle().clone();
    ended.shutdown_background();
    let entered = handle.enter();
    let mut push = std::pin::pin!(queue.push(record(0, 100)));
    let polled = push.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(PushError::Storage(_)))), "{polled:?}");
    drop(entered);
    assert!(queue.is_empty());
    runtime().block_on(async {
        queue.push(record(1, 100)).await.unwrap();
        assert_eq!(numbers(&drain(&queue).await), [1]);
        queue.flush().await.unwrap();
    });
}
