//! `kill -9` at any moment: what was acknowledged is there, once and in order, and what was settled
//! does not come again but for what was settled last, within a bound.
//!
//! The victim is this test binary again. It pushes numbers without end, several at once, says which
//! were acknowledged, and takes and settles now and then.

use std::io::Write as _;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::task::JoinSet;

use super::*;

/// How often the victim is killed; another number may be given in this variable.
const ROUNDS: &str = "URSA_CRASH_ROUNDS";
const FEW: u64 = 200;
const PUSHERS: u64 = 4;
const DIRECTORY: &str = "URSA_QUEUE_CRASH_DIRECTORY";
const FIRST: &str = "URSA_QUEUE_CRASH_FIRST";
const ACKNOWLEDGED: &str = "acknowledged ";
const SETTLED: &str = "settled ";

const OPTIONS: Options = Options {
    capacity: 4 << 20,
    max_age: None,
    segment_bytes: 16 << 10,
    sync: Sync::BeforeAcknowledge,
    cache_bytes: 8 << 10,
    cursor_lag: 4 << 10,
};
/// Contents of a batch.
const BATCH_BYTES: u64 = 6_000;
/// A record with so many bytes of contents takes no more than twice that, or the least.
const MOST_AGAIN: u64 = OPTIONS.cursor_lag + 2 * BATCH_BYTES;

fn length(number: u64) -> usize {
    8 + usize::try_from(number * 31 % 3000).unwrap()
}

/// What the killed process does.
async fn push_without_end(directory: &Path, first: u64) {
    let queue = std::sync::Arc::new(open(directory, OPTIONS).0);
    let mut pushers = JoinSet::new();
    for pusher in 0..PUSHERS {
        let queue = std::sync::Arc::clone(&queue);
        pushers.spawn(async move {
            for round in 0.. {
                let number = first + round * PUSHERS + pusher;
                if queue.push(record(number, length(number))).await.is_ok() {
                    writeln!(std::io::stdout(), "{ACKNOWLEDGED}{number}").unwrap();
                } else {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let want =
        Want { max_bytes: BATCH_BYTES, batch_bytes: 4_000, batch_age: Duration::from_millis(1) };
    while let Some(mut batch) = queue.next(Lane::Live, &want).await {
        let contents = queue.read(&mut batch).await.unwrap();
        assert_eq!(contents.damaged.records, 0);
        if contents.records[0].len() % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Said first: what was said and is not settled may come again, not the other way round.
        let numbers = numbers(&contents.records);
        for number in numbers {
            writeln!(std::io::stdout(), "{SETTLED}{number}").unwrap();
        }
        queue.settle(batch);
    }
}

#[tokio::test]
async fn acknowledged_records_survive_kill_9() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let first = std::env::var_os(FIRST).unwrap().into_string().unwrap().parse().unwrap();
        return push_without_end(directory.as_ref(), first).await;
    }
    let rounds = std::env::var_os(ROUNDS);
    let rounds = rounds.map_or(FEW, |rounds| rounds.into_string().unwrap().parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut first = 0;
    // Acknowledged and not known to be settled, from all rounds.
    let mut kept = std::collections::BTreeSet::new();
    let mut acknowledged_in_all = 0;
    let (mut settled_in_all, mut again_in_all, mut again_at_most) = (0, 0, 0);
    for round in 0..rounds {
        // Some die while they recover, most while they write.
        let lines = if round % 8 == 0 { 0 } else { random.u64(..100) };
        let moment = Duration::from_micros(random.u64(..3000));
        let killed = kill_after(directory.path(), first, lines, moment);
        let (acknowledged, settled) =
            tokio::time::timeout(Duration::from_mins(1), killed).await.unwrap();
        acknowledged_in_all += acknowledged.len();
        kept.extend(acknowledged);
        for number in &settled {
            kept.remove(number);
        }
        let crashed = copy(directory.path());
        let (queue, recovered) = open(crashed.path(), OPTIONS);
        assert_eq!((recovered.damaged_records, recovered.damaged_bytes), (0, 0), "round {round}");
        let found = numbers(&drain(&queue).await);
        let mut once = found.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), found.len(), "round {round}: one is there twice");
        for pusher in 0..PUSHERS {
            let mine = found.iter().filter(|number| *number % PUSHERS == pusher);
            assert!(mine.is_sorted(), "round {round}: out of order");
        }
        let lost: Vec<_> =
            kept.iter().filter(|number| once.binary_search(number).is_err()).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        let cost = |number: &u64| (length(*number) as u64 + 40).max(256);
        let again = settled.iter().filter(|number| once.binary_search(number).is_ok());
        let again: u64 = again.map(cost).sum();
        assert!(again <= MOST_AGAIN, "round {round}: {again} bytes come again");
        again_in_all += again;
        again_at_most = again.max(again_at_most);
        settled_in_all += settled.iter().map(cost).sum::<u64>();
        // What was stored without having been acknowledged counts from now on.
        kept.extend(found);
        first += 1_000_000;
    }
    writeln!(
        std::io::stdout(),
        "{rounds} kills: {acknowledged_in_all} records acknowledged, none lost; {again_in_all} of \
         {settled_in_all} settled bytes came again, at most {again_at_most} after one"
    )
    .unwrap();
    assert!(acknowledged_in_all > 1000, "only {acknowledged_in_all} records in all");
    assert!(settled_in_all > rounds * MOST_AGAIN, "only {settled_in_all} bytes were settled");
}

/// Lets the victim work, kills it after some lines and a moment more, and returns what it
/// acknowledged and settled.
async fn kill_after(
    directory: &Path,
    first: u64,
    lines: u64,
    moment: Duration,
) -> (Vec<u64>, Vec<u64>) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::acknowledged_records_survive_kill_9", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(victim.stdout.take().unwrap()).lines();
    let (mut acknowledged, mut settled) = (Vec::new(), Vec::new());
    let mut left = lines;
    while left > 0 && next_line(&mut output, &mut acknowledged, &mut settled).await {
        left -= 1;
    }
    assert_eq!(left, 0, "the victim works until it is killed");
    tokio::time::sleep(moment).await;
    victim.kill().await.unwrap();
    while next_line(&mut output, &mut acknowledged, &mut settled).await {}
    (acknowledged, settled)
}

async fn next_line(
    lines: &mut Lines<BufReader<ChildStdout>>,
    acknowledged: &mut Vec<u64>,
    settled: &mut Vec<u64>,
) -> bool {
    while let Some(line) = lines.next_line().await.unwrap() {
        // libtest leaves its own words on the first line.
        for (word, numbers) in [(ACKNOWLEDGED, &mut *acknowledged), (SETTLED, &mut *settled)] {
            if let Some((_, number)) = line.split_once(word) {
                numbers.push(number.parse().unwrap());
                return true;
            }
        }
    }
    false
}
