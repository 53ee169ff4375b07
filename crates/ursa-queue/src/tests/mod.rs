//! What holds for both kinds of queue, and what survives what.

mod crash;
mod damage;
mod full;
mod model;
mod stuck;
mod waiting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::{Batch, Lane, Options, PushError, Queue, Record, Recovered, Sync, Want};

/// Everything at once, due at once.
const ALL: Want = Want { max_bytes: u64::MAX, batch_bytes: 0, batch_age: Duration::ZERO };

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A record that begins with its number, as far as there is room.
fn record(number: u64, length: usize) -> Record {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(length, u8::try_from(number % 251).unwrap());
    Record { form: 0, source: 1, items: 1, bytes: bytes.into() }
}

fn open(directory: &Path, options: Options) -> (Queue, Recovered) {
    Queue::open(directory, options).unwrap()
}

/// Takes and settles everything.
async fn drain(queue: &Queue) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let Some(mut batch) = queue.try_next(Lane::Live, &ALL) {
        all.extend(queue.read(&mut batch).await.unwrap().records);
        queue.settle(batch);
    }
    all
}

fn numbers(records: &[Bytes]) -> Vec<u64> {
    let number = |record: &Bytes| u64::from_le_bytes(*record.first_chunk().unwrap());
    records.iter().map(number).collect()
}

/// The segments of a directory, in order.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "segment")).collect();
    segments.sort();
    segments
}

/// Where syncing costs nothing, if there is such a place.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy(from: &Path) -> TempDir {
    let to = directory();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        // A segment may be deleted meanwhile.
        if let Err(error) = std::fs::copy(&path, to.path().join(path.file_name().unwrap())) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
    to
}
