//! What the queue costs: CPU seconds per million spans of 540 bytes, pushed, taken, read and settled,
//! with a sync before each acknowledgement.
//!
//! `cargo run --release -p ursa-queue --example queue_speed [DIRECTORY [LOAD]]`

#![expect(clippy::print_stdout, reason = "an example that measures")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;
use ursa_queue::{Lane, Options, Queue, Record, Want};

const WANT: Want =
    Want { max_bytes: 2 << 20, batch_bytes: 1 << 20, batch_age: Duration::from_millis(200) };

/// What is measured: how much is in a record, and how many push at once.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    bytes: usize,
    spans: u32,
    records: u32,
    pushers: u32,
    /// Nothing is taken before everything was pushed.
    backlog: bool,
}

const LOADS: [Load; 7] = [
    Load {
        name: "54 KB, 1 pusher",
        bytes: 54_000,
        spans: 100,
        records: 4_000,
        pushers: 1,
        backlog: false,
    },
    Load {
        name: "54 KB, 8 pushers",
        bytes: 54_000,
        spans: 100,
        records: 10_000,
        pushers: 8,
        backlog: false,
    },
    Load {
        name: "54 KB, 32 pushers",
        bytes: 54_000,
        spans: 100,
        records: 10_000,
        pushers: 32,
        backlog: false,
    },
    Load {
        name: "600 B, 8 pushers",
        bytes: 600,
        spans: 1,
        records: 50_000,
        pushers: 8,
        backlog: false,
    },
    Load {
        name: "600 B, 256 pushers",
        bytes: 600,
        spans: 1,
        records: 500_000,
        pushers: 256,
        backlog: false,
    },
    Load {
        name: "54 KB, backlog",
        bytes: 54_000,
        spans: 100,
        records: 4_500,
        pushers: 32,
        backlog: true,
    },
    Load {
        name: "600 B, backlog",
        bytes: 600,
        spans: 1,
        records: 400_000,
        pushers: 256,
        backlog: true,
    },
];

#[tokio::main(worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let directory = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("queue-speed-{}", std::process::id()));
    println!(
        "{:<20} {:>14} {:>14} {:>14} {:>10}",
        "", "CPU-s/M spans", "of it kernel", "spans/s", "RSS MB"
    );
    let only = std::env::args().nth(2).unwrap_or_default();
    for load in LOADS.into_iter().filter(|load| load.name.starts_with(&only)) {
        let queue = Arc::new(Queue::open(&directory, Options::default())?.0);
        measure(&queue, load).await;
        if let Err(error) = queue.flush().await {
            println!("{error}");
        }
        drop(queue);
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

async fn measure(queue: &Arc<Queue>, load: Load) {
    let (start, before) = (Instant::now(), cpu_seconds());
    let mut pushers = JoinSet::new();
    for _ in 0..load.pushers {
        let queue = Arc::clone(queue);
        pushers.spawn(async move {
            for _ in 0..load.records / load.pushers {
                // A request of its own each, as receivers make them.
                let bytes = Bytes::from(vec![7; load.bytes]);
                let record = Record { form: 0, source: 0, items: load.spans, bytes };
                queue.push(record).await.expect("there is room");
            }
        });
    }
    if load.backlog {
        pushers.join_all().await;
        take(queue, load).await;
    } else {
        take(queue, load).await;
        pushers.join_all().await;
    }
    let millions = f64::from(load.records / load.pushers * load.pushers * load.spans) / 1e6;
    let (user, kernel) = cpu_seconds();
    let (user, kernel) = (user - before.0, kernel - before.1);
    println!(
        "{:<20} {:>14.2} {:>14.2} {:>14.0} {:>10}",
        load.name,
        (user + kernel) / millions,
        kernel / millions,
        millions * 1e6 / start.elapsed().as_secs_f64(),
        peak_megabytes(),
    );
}

async fn take(queue: &Queue, load: Load) {
    let mut left = u64::from(load.records / load.pushers * load.pushers * load.spans);
    while left > 0
        && let Some(mut batch) = queue.next(Lane::Live, &WANT).await
    {
        let contents = queue.read(&mut batch).await.expect("the disk can be read");
        assert_eq!(contents.records.len(), batch.records);
        left -= batch.items;
        queue.settle(batch);
    }
}

/// Of this process: in its own code, and in the kernel's.
fn cpu_seconds() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    let &[user, kernel] = &fields[..] else { return (0.0, 0.0) };
    (user / 100.0, kernel / 100.0)
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() / 1024
}
