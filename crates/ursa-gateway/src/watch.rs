//! Notices that a file was changed.
//!
//! It looks at the file's metadata every second, which a folder that is swapped as a whole (a
//! ConfigMap) cannot hide, and which costs neither a thread nor memory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// What changes with a file: device, inode, size, time of change in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// One file, watched from when this was made.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    known: Option<Stamp>,
}

impl FileWatch {
    /// Watches `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), known: stamp(path) }
    }

    /// Waits until the file is another than it was and stays so from one look to the next: what is
    /// being written is not read. A file that went away is not a change; one that came back is.
    pub async fn changed(&mut self) {
        let mut seen = None;
        loop {
            sleep(EVERY).await;
            let now = stamp(&self.path);
            if now.is_some() && now != self.known && now == seen {
                self.known = now;
                return;
            }
            seen = now;
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}
