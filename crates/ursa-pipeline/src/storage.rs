//! Where queues lie on disk.
//!
//! ```text
//! <storage>/<signal>/<backend's name, made safe, and a hash of it>/backend     the name as it is
//!                                                                  queue/      segments
//! ```
//!
//! Queues that no backend owns, for example after a restart with another configuration, stay until
//! the backend is configured again or a person deletes them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ursa_queue::{Options, Queue, Recovered};

use crate::Signal;
use crate::status::OrphanedQueue;

/// The file that holds a backend's name.
const NAME: &str = "backend";
/// The directory of a queue's segments.
const QUEUE: &str = "queue";
/// Characters of a backend's name that stand in its directory's.
const MAX_NAME: usize = 48;
/// No name of a backend is longer; what else stands in such a file is not one.
const MAX_NAME_FILE: u64 = 4096;

/// The directory of a pipeline's queues.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    root: PathBuf,
}

impl Storage {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where a backend's queue is.
    pub(crate) fn directory(&self, signal: Signal, backend: &str) -> PathBuf {
        self.root.join(signal.name()).join(directory_name(backend))
    }

    /// Opens a backend's queue. Blocks: what lies there is read.
    ///
    /// # Errors
    /// The directory cannot be made or read, or another process uses it.
    pub(crate) fn open(
        &self,
        signal: Signal,
        backend: &str,
        options: Options,
    ) -> io::Result<(Queue, Recovered)> {
        let directory = self.directory(signal, backend);
        let queue = directory.join(QUEUE);
        fs::create_dir_all(&directory)?;
        let name = directory.join(NAME);
        if fs::read(&name).ok().as_deref() != Some(backend.as_bytes()) {
            fs::write(&name, backend)?;
        }
        Queue::open(&queue, options)
    }

    /// Removes a backend's directory, whose queue is empty and not open any more.
    pub(crate) fn remove(&self, signal: Signal, backend: &str) -> io::Result<()> {
        fs::remove_dir_all(self.directory(signal, backend))
    }

    /// The queues that lie here and are not `known`.
    pub(crate) fn orphaned(&self, known: &BTreeSet<(Signal, String)>) -> Vec<OrphanedQueue> {
        let mut orphaned = Vec::new();
        for signal in Signal::ALL {
            let Ok(entries) = fs::read_dir(self.root.join(signal.name())) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let Some(backend) = name_in(&path) else { continue };
                let bytes = size_of_files(&path.join(QUEUE));
                if known.contains(&(signal, backend.clone())) {
                    continue;
                }
                let path = path.display().to_string();
                orphaned.push(OrphanedQueue { backend, signal, path, bytes });
            }
        }
        orphaned.sort_by(|one, other| one.path.cmp(&other.path));
        orphaned
    }
}

/// The backend that a directory belongs to, if it is one's.
fn name_in(directory: &Path) -> Option<String> {
    let file = directory.join(NAME);
    let short = fs::metadata(&file).ok()?.len() <= MAX_NAME_FILE;
    let name = short.then(|| fs::read_to_string(&file).ok())??;
    let own = directory.file_name().is_some_and(|own| *own == *directory_name(&name));
    own.then_some(name)
}

fn size_of_files(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

/// A name that every file system takes and that no other backend has.
fn directory_name(backend: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let readable: String = backend.chars().take(MAX_NAME).map(safe).collect();
    format!("{readable}-{:016x}", fnv1a(backend.as_bytes()))
}

/// FNV-1a, 64 bits. It names directories, so it must stay as it is.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_named_for_people_and_machines() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(directory_name("a"), "a-af63dc4c8601ec8c");
        let name = directory_name("inline of MeshTrace default/all");
        assert!(name.starts_with("inline_of_MeshTrace_default_all-"), "{name}");
        assert_ne!(directory_name("../x"), directory_name("___x"));
        assert!(directory_name(&"é".repeat(500)).len() < 80);
    }

    #[test]
    fn what_no_backend_owns_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage::new(root.path().to_owned());
        for (signal, backend) in
            [(Signal::Traces, "a/b"), (Signal::Logs, "a/b"), (Signal::Traces, "c")]
        {
            let directory = storage.directory(signal, backend);
            fs::create_dir_all(directory.join(QUEUE)).unwrap();
            fs::write(directory.join(NAME), backend).unwrap();
            fs::write(directory.join(QUEUE).join("1"), "12345").unwrap();
        }
        fs::create_dir_all(root.path().join("traces/else")).unwrap();
        let known = BTreeSet::from([(Signal::Traces, "c".to_owned())]);
        let seen = storage.orphaned(&known);
        let seen: Vec<_> = seen.iter().map(|one| (one.signal, &*one.backend, one.bytes)).collect();
        assert_eq!(seen, [(Signal::Logs, "a/b", 5), (Signal::Traces, "a/b", 5)]);
        storage.remove(Signal::Traces, "a/b").unwrap();
        assert_eq!(storage.orphaned(&known).len(), 1);
    }
}
