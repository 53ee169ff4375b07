//! Both kinds against a plain list: nothing is lost, doubled or reordered, whatever happens in
//! whatever order, and the counts are exact at every moment.

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const MAX_AGE: Duration = Duration::from_secs(100);
const FOUND: u16 = crate::RECOVERED;

#[derive(Debug, Clone)]
enum Step {
    Push {
        length: usize,
        form: u8,
        source: u16,
        items: u32,
    },
    Take {
        backlog: bool,
        max_bytes: u64,
        age: u64,
    },
    Settle(usize),
    Release(usize),
    SplitLanes,
    Advance(u64),
    Expire,
    Clear,
    Resize(u64),
    /// Stop and start.
    Reopen,
    /// The directory as it is now, perhaps with a record half written.
    Crash {
        torn: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![8..400_usize, 3000..9000_usize];
    prop_oneof![
        12 => (length, 0..2_u8, 0..3_u16, 0..5_u32)
            .prop_map(|(length, form, source, items)| Step::Push { length, form, source, items }),
        8 => (any::<bool>(), 100..20_000_u64, 0..20_u64)
            .prop_map(|(backlog, max_bytes, age)| Step::Take { backlog, max_bytes, age }),
        5 => (0..5_usize).prop_map(Step::Settle),
        3 => (0..5_usize).prop_map(Step::Release),
        2 => Just(Step::SplitLanes),
        2 => (0..60_u64).prop_map(Step::Advance),
        1 => Just(Step::Expire),
        1 => prop_oneof![9 => Just(Step::Expire), 1 => Just(Step::Clear)],
        1 => (0..100_000_u64).prop_map(Step::Resize),
        1 => Just(Step::Reopen),
        1 => (0..200_usize).prop_map(|torn| Step::Crash { torn }),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Stored {
    record: Record,
    /// None if it was found on disk: how old it is depends on the wall clock.
    at: Option<Instant>,
    backlog: bool,
    flying: bool,
    /// Only in `Model::settled`: its place among all.
    number: u64,
}

#[derive(Debug, Default)]
struct Model {
    /// By number.
    stored: Vec<Stored>,
    /// Settled since the queue was opened.
    settled: Vec<Stored>,
    capacity: u64,
    entered: u64,
}

impl Model {
    fn cost(disk: bool, record: &Record) -> u64 {
        let length = record.bytes.len() as u64;
        if disk { (length + 40).max(256) } else { length + 256 }
    }

    fn used(&self, disk: bool) -> u64 {
        self.stored.iter().map(|stored| Self::cost(disk, &stored.record)).sum()
    }

    /// The places of the next batch.
    fn take(&self, backlog: bool, max_bytes: u64) -> Vec<usize> {
        let mut taken: Vec<usize> = Vec::new();
        let (mut bytes, mut passed) = (0, 0);
        let waits = |(_, stored): &(usize, &Stored)| !stored.flying && stored.backlog == backlog;
        for (at, Stored { record, .. }) in self.stored.iter().enumerate().filter(waits) {
            let length = record.bytes.len() as u64;
            if let Some(&first) = taken.first() {
                if record.form != self.stored[first].record.form {
                    passed += length;
                    if passed > max_bytes {
                        break;
                    }
                    continue;
                }
                if bytes + length > max_bytes {
                    break;
                }
            }
            bytes += length;
            taken.push(at);
        }
        taken
    }

    fn place(&self, number: u64) -> usize {
        self.stored.iter().position(|stored| stored.number == number).unwrap()
    }

    fn settle(&mut self, doomed: impl Fn(&Stored) -> bool) -> Vec<Stored> {
        let (gone, stored) = std::mem::take(&mut self.stored).into_iter().partition(doomed);
        self.stored = stored;
        self.settled.extend_from_slice(&gone);
        gone
    }

    fn check(&self, disk: bool, counts: &crate::Counts) {
        let of = |flying: bool, source: Option<u16>| -> u64 {
            let mine = |stored: &&Stored| {
                stored.flying == flying
                    && source.is_none_or(|source| source == stored.record.source)
            };
            self.stored.iter().filter(mine).map(|stored| u64::from(stored.record.items)).sum()
        };
        assert_eq!(counts.waiting_items, of(false, None));
        assert_eq!(counts.in_flight_items, of(true, None));
        assert_eq!(counts.entered_items, self.entered);
        assert_eq!(counts.stored_bytes, self.used(disk));
        assert_eq!(counts.capacity, self.capacity);
        for (source, found) in &counts.sources {
            assert_eq!(found.waiting_items, of(false, Some(*source)));
            assert_eq!(found.in_flight_items, of(true, Some(*source)));
        }
        let entered: u64 = counts.sources.iter().map(|(_, counts)| counts.entered_items).sum();
        assert_eq!(entered, self.entered);
        let oldest = self.stored.first().map(|stored| stored.at);
        assert_eq!(counts.oldest.is_some(), oldest.is_some());
        if let Some(at) = oldest.flatten() {
            assert_eq!(counts.oldest, Some(at.elapsed()));
        }
    }

    /// The queue was opened anew, and this is found.
    fn reopened(&mut self, recovered: &Recovered) {
        self.settled.clear();
        for stored in &mut self.stored {
            stored.record.source = FOUND;
            (stored.at, stored.backlog, stored.flying) = (None, false, false);
        }
        self.entered = self.stored.iter().map(|stored| u64::from(stored.record.items)).sum();
        let bytes: usize = self.stored.iter().map(|stored| stored.record.bytes.len()).sum();
        let records = self.stored.len() as u64;
        assert_eq!((recovered.damaged_records, recovered.damaged_bytes), (0, 0));
        assert_eq!(
            (recovered.records, recovered.items, recovered.bytes),
            (records, self.entered, bytes as u64)
        );
    }
}

async fn run(disk: bool, cache_bytes: usize, steps: Vec<Step>) {
    let options = Options {
        capacity: 60_000,
        segment_bytes: 0,
        max_age: Some(MAX_AGE),
        cache_bytes,
        ..Options::default()
    };
    let mut directory = super::directory();
    let mut queue = if disk { open(directory.path(), options).0 } else { Queue::memory(options) };
    let mut model = Model { capacity: options.capacity, ..Model::default() };
    let mut flying: Vec<(Batch, Vec<u64>)> = Vec::new();
    let mut next = 0_u64;
    for step in steps {
        match step {
            Step::Push { length, form, source, items } => {
                let record = Record { form, source, items, ..record(next, length) };
                let cost = Model::cost(disk, &record);
                let expected = if cost > model.capacity {
                    Err(PushError::TooLarge)
                } else if model.used(disk) + cost > model.capacity {
                    Err(PushError::Full)
                } else {
                    Ok(next)
                };
                assert_eq!(queue.push(record.clone()).await, expected);
                if expected.is_ok() {
                    let at = Some(Instant::now());
                    let (backlog, flying) = (false, false);
                    model.stored.push(Stored { record, at, backlog, flying, number: next });
                    model.entered += u64::from(items);
                    next += 1;
                }
            }
            Step::Take { backlog, max_bytes, age } => {
                let lane = if backlog { Lane::Backlog } else { Lane::Live };
                let waits = |stored: &&Stored| !stored.flying && stored.backlog == backlog;
                let waiting = || model.stored.iter().filter(waits);
                let first = waiting().next().map(|first| first.at);
                let age = if first == Some(None) { 0 } else { age };
                let batch_age = Duration::from_secs(age);
                let want = Want { max_bytes, batch_bytes: max_bytes, batch_age };
                let mut taken = model.take(backlog, max_bytes);
                let bytes: usize = waiting().map(|stored| stored.record.bytes.len()).sum();
                let old = first.is_some_and(|at| at.is_none_or(|at| at.elapsed() >= batch_age));
                if !old && (bytes as u64) < max_bytes {
                    taken.clear();
                }
                let batch = queue.try_next(lane, &want);
                let numbers: Vec<u64> = taken.iter().map(|&at| model.stored[at].number).collect();
                let Some(mut batch) = batch else {
                    assert!(numbers.is_empty(), "{numbers:?} are due");
                    continue;
                };
                assert!(batch.numbers().flatten().eq(numbers.iter().copied()));
                let contents = queue.read(&mut batch).await.unwrap();
                assert_eq!(contents.damaged.records, 0);
                let records = taken.iter().map(|&at| &model.stored[at].record);
                assert!(contents.records.iter().eq(records.clone().map(|record| &record.bytes)));
                assert_eq!(batch.records, taken.len());
                assert_eq!(
                    batch.items,
                    records.clone().map(|record| u64::from(record.items)).sum()
                );
                assert!(records.clone().all(|record| record.form == batch.form));
                let first_at = model.stored[taken[0]].at;
                assert!(first_at.is_none_or(|at| at == batch.first_at));
                let sources: u64 = batch.sources.iter().map(|(_, items)| items).sum();
                assert_eq!(sources, batch.items);
                for at in taken {
                    model.stored[at].flying = true;
                }
                flying.push((batch, numbers));
            }
            Step::Settle(at) | Step::Release(at) if at < flying.len() => {
                let (batch, numbers) = flying.remove(at);
                if matches!(step, Step::Settle(_)) {
                    queue.settle(batch);
                    model.settle(|stored| numbers.contains(&stored.number));
                } else {
                    queue.release(batch);
                    for number in numbers {
                        let at = model.place(number);
                        model.stored[at].flying = false;
                    }
                }
            }
            Step::Settle(_) | Step::Release(_) => {}
            Step::SplitLanes => {
                queue.split_lanes();
                for stored in &mut model.stored {
                    stored.backlog = true;
                }
            }
            Step::Advance(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
            Step::Expire if model.stored.iter().any(|stored| stored.at.is_none()) => {}
            Step::Expire | Step::Clear => {
                let clear = matches!(step, Step::Clear);
                let dropped = if clear { queue.clear() } else { queue.expire(Instant::now()) };
                let gone = model.settle(|stored| {
                    !stored.flying && (clear || stored.at.unwrap().elapsed() > MAX_AGE)
                });
                let items = gone.iter().map(|stored| u64::from(stored.record.items)).sum::<u64>();
                assert_eq!((dropped.records, dropped.items), (gone.len() as u64, items));
            }
            Step::Resize(capacity) => {
                queue.resize(capacity);
                model.capacity = capacity;
            }
            Step::Reopen | Step::Crash { .. } if !disk => {}
            Step::Reopen => {
                let options = Options { capacity: model.capacity, ..options };
                flying.clear();
                queue.flush().await.unwrap();
                drop(queue);
                let recovered;
                (queue, recovered) = open(directory.path(), options);
                assert_eq!(recovered.cut_tail_bytes, 0);
                model.reopened(&recovered);
            }
            Step::Crash { torn } => {
                let options = Options { capacity: model.capacity, ..options };
                let crashed = copy(directory.path());
                flying.clear();
                queue.flush().await.unwrap();
                drop(queue);
                directory = crashed;
                if let Some(segment) = segments(directory.path()).last() {
                    let mut bytes = std::fs::read(segment).unwrap();
                    bytes.extend_from_within(bytes.len().saturating_sub(torn)..);
                    bytes.pop();
                    if torn > 0 {
                        std::fs::write(segment, bytes).unwrap();
                    }
                }
                let recovered;
                (queue, recovered) = open(directory.path(), options);
                // What was settled last may come again, and nothing else.
                let mut again = Vec::new();
                let mut batches = Vec::new();
                let all = |form| (form, queue.try_next(Lane::Live, &ALL));
                for (_, batch) in [all(0), all(1)] {
                    again.extend(batch.iter().flat_map(Batch::numbers).flatten());
                    batches.extend(batch);
                }
                drop(batches);
                let mut found = std::mem::take(&mut model.stored);
                let settled = model.settled.drain(..);
                found.extend(settled.filter(|stored| again.contains(&stored.number)));
                found.sort_by_key(|stored| stored.number);
                again.sort_unstable();
                assert!(again.iter().copied().eq(found.iter().map(|stored| stored.number)));
                model.stored = found;
                model.reopened(&recovered);
            }
        }
        model.check(disk, &queue.counts());
    }
    drop(flying);
    queue.split_lanes();
    queue.close();
    assert_eq!(queue.push(record(0, 8)).await, Err(PushError::Closed));
    while let Some(batch) = queue.next(Lane::Backlog, &ALL).await {
        model.settle(|stored| batch.numbers().any(|numbers| numbers.contains(&stored.number)));
        queue.settle(batch);
    }
    assert!(queue.next(Lane::Live, &ALL).await.is_none());
    assert!(model.stored.is_empty() && queue.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(steps in prop::collection::vec(step(), 1..80)) {
        runtime().block_on(run(false, 0, steps));
    }

    #[test]
    fn on_disk(cache_bytes in 0..20_000_usize, steps in prop::collection::vec(step(), 1..80)) {
        runtime().block_on(run(true, cache_bytes, steps));
    }
}
