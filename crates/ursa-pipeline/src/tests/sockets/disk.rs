//! A disk that is full and has room again, under load.
//!
//! The test is this binary again: with a limit of 0 on the size of its files every write to one fails
//! (with EFBIG, as on a full disk with ENOSPC), and without it none does.

use std::process::Command;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::*;

const AGAIN: &str = "URSA_PIPELINE_FULL_DISK";

/// Lets every write to a file fail, or none.
fn has_room(room: bool) {
    let mut limit = getrlimit(Resource::Fsize);
    limit.current = if room { limit.maximum } else { Some(0) };
    setrlimit(Resource::Fsize, limit).unwrap();
}

#[test]
fn a_disk_is_full_and_has_room_again_under_load() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    if std::env::var_os(AGAIN).is_some() {
        return runtime().unwrap().block_on(full_and_not());
    }
    let name = "tests::sockets::disk::a_disk_is_full_and_has_room_again_under_load";
    let child = Command::new("sh")
        // To be told by an error, and not by a signal.
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(AGAIN, "")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{words}");
    let words = String::from_utf8_lossy(&child.stdout);
    assert!(words.contains(" 1 passed"), "{words}");
}

async fn full_and_not() {
    let shelf = Arc::new(Shelf::default());
    let (backend, address) =
        receiver(Protocol::OtlpGrpc, Arc::clone(&shelf) as Arc<dyn Sink>).await;
    let flow = Flow::start(&address.to_string(), Arc::new(Tcp), &shelf).await;
    for _ in 0..3 {
        flow.flows().await;
        has_room(false);
        let refused = flow.load.refused();
        let more =
            |now: [u64; 4], than: [u64; 4]| now.iter().zip(than).all(|(now, than)| *now > than);
        flow.until("all are refused", async || more(flow.load.refused(), refused)).await;
        // Nothing is acknowledged any more, and what was is still delivered.
        let acknowledged = flow.load.acknowledged();
        let refused = flow.load.refused();
        flow.until("all are refused again, and nothing waits", async || {
            more(flow.load.refused(), refused) && flow.arrived() == acknowledged
        })
        .await;
        assert_eq!(flow.load.acknowledged(), acknowledged);
        has_room(true);
    }
    flow.flows().await;
    flow.end().await;
    backend.shutdown(Duration::from_secs(1)).await;
}
