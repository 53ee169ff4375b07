//! `kill -9` at any moment: what was acknowledged is there, and nothing is there by half.
//!
//! The victim is this test binary again. It writes without end: write `n` gives each of
//! [`RESOURCES`] resources the text `n`, and makes one more named `n`.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use super::*;

const ROUNDS: u64 = 20;
const RESOURCES: u64 = 20;
const FILE: &str = "URSA_STORE_CRASH_FILE";
const ACKNOWLEDGED: &str = "acknowledged ";

/// What the killed process does.
async fn write_without_end(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let mut last = store.list(&Filter::default()).await.unwrap().revision;
    loop {
        last += 1;
        let texts = (0..RESOURCES).map(|at| Change::put(key(&format!("r{at}")), last.to_string()));
        let changes = texts.chain([Change::put(key(&last.to_string()), "made once")]).collect();
        assert_eq!(store.write(changes).await.unwrap().revision, last);
        writeln!(std::io::stdout(), "{ACKNOWLEDGED}{last}").unwrap();
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    if let Some(path) = std::env::var_os(FILE) {
        return write_without_end(path.as_ref()).await;
    }
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ursa.db");
    let mut random = fastrand::Rng::with_seed(1);
    let mut revision = 0;
    for round in 0..ROUNDS {
        // Some die while they open the file, most while they write.
        let (acknowledgements, moment) =
            if round % 4 == 0 { (0, 0..60_000) } else { (random.u64(1..30), 0..5_000) };
        let moment = Duration::from_micros(random.u64(moment));
        let killed = kill_after(&path, acknowledgements, moment);
        let acknowledged = tokio::time::timeout(Duration::from_mins(1), killed).await.unwrap();
        let found = check(&path).await;
        assert!(found >= acknowledged.max(revision), "{found} after {acknowledged}, {revision}");
        revision = found;
    }
    assert!(revision > ROUNDS, "only {revision} writes in all");
}

/// Lets the victim write, kills it after some acknowledgements and a moment more, and returns the
/// last write that it acknowledged; 0 if none.
async fn kill_after(path: &Path, acknowledgements: u64, moment: Duration) -> u64 {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::crash::acknowledged_writes_survive_kill_9", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut last = 0;
    for _ in 0..acknowledgements {
        last = next_acknowledged(&mut lines).await.expect("the victim writes until it is killed");
    }
    tokio::time::sleep(moment).await;
    victim.kill().await.unwrap();
    while let Some(number) = next_acknowledged(&mut lines).await {
        last = number;
    }
    last
}

async fn next_acknowledged(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<u64> {
    while let Some(line) = lines.next_line().await.unwrap() {
        // libtest leaves its own words on the first line.
        if let Some((_, number)) = line.split_once(ACKNOWLEDGED) {
            return Some(number.parse().unwrap());
        }
    }
    None
}

/// Checks that every write is there whole or not at all, and returns the last.
async fn check(path: &Path) -> u64 {
    let store = SqliteStore::open(path).await.unwrap();
    let listing = store.list(&Filter::default()).await.unwrap();
    let last = listing.revision;
    let texts = listing.records.iter().filter(|record| record.key.name.starts_with('r'));
    let texts: Vec<&str> = texts.map(|record| record.text.as_str()).collect();
    let expected = if last == 0 { 0 } else { RESOURCES };
    assert_eq!(texts, vec![last.to_string(); usize::try_from(expected).unwrap()]);
    assert_eq!(listing.records.len() as u64, expected + last);
    for number in 1..=last {
        assert!(listing.records.iter().any(|record| record.key.name == number.to_string()));
    }
    last
}
