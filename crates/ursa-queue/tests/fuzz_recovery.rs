//! Fuzz target of the queue's recovery. `cargo test` runs the kept corpus (`__fuzz__`) and some
//! random inputs; `cargo bolero test` searches for more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use ursa_queue::{Lane, Options, Queue, Want};

const ALL: Want = Want { max_bytes: u64::MAX, batch_bytes: 0, batch_age: Duration::ZERO };

/// Segments and a cursor with any contents: the first byte says which file, two more how long it
/// is. What is found is what can be read, and what was settled does not come again.
#[test]
fn any_files_are_recovered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = std::panic::AssertUnwindSafe(runtime);
    bolero::check!().with_iterations(1000).for_each(|bytes: &[u8]| {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        write_files(directory.path(), bytes);
        runtime.0.block_on(recover(directory.path()));
    });
}

fn write_files(directory: &Path, mut bytes: &[u8]) {
    while let Some((&[which, low, high], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (contents, rest) = rest.split_at(length);
        let name = match which % 4 {
            0 => "cursor".to_owned(),
            number => format!("{number:020}.segment"),
        };
        std::fs::write(directory.join(name), contents).unwrap();
        bytes = rest;
    }
}

async fn recover(directory: &Path) {
    let options = Options { max_age: Some(Duration::from_mins(1)), ..Options::default() };
    // Of another version, or not.
    let Ok((queue, recovered)) = Queue::open(directory, options) else { return };
    let counts = queue.counts();
    assert_eq!(counts.waiting_records, recovered.records);
    let mut read = 0;
    while let Some(mut batch) = queue.try_next(Lane::Live, &ALL) {
        let contents = queue.read(&mut batch).await.unwrap();
        assert_eq!(contents.damaged.records, 0);
        assert_eq!(contents.records.len(), batch.records);
        read += batch.records as u64;
        queue.settle(batch);
    }
    assert_eq!(read, recovered.records);
    queue.flush().await.unwrap();
    drop(queue);
    let (_, recovered) = Queue::open(directory, options).unwrap();
    assert_eq!((recovered.records, recovered.damaged_records), (0, 0));
}
