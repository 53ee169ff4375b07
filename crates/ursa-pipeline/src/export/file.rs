//! Files in OTLP's file format: an export request in OTLP/JSON on each line.
//!
//! What is delivered lies on disk. A file that would grow beyond its size is put aside as `path.1`,
//! that as `path.2`, and so on; the oldest beyond the number that is kept is removed. Signals that
//! name the same path share one file; with `{signal}` in the path each has its own, as the format
//! wants it.
//!
//! Followed: OpenTelemetry 1.55, "OpenTelemetry Protocol File Exporter".

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::task::spawn_blocking;
use ursa_model::pipeline::FileExporter as FileSpec;
use ursa_otlp::wire;

use super::answer::{Again, Failure, Outcome, Reason};
use super::{Payload, lines};
use crate::Signal;

/// Stands for the signal's name in a path.
const SIGNAL: &str = "{signal}";
/// How much is read at a time in search of the last whole line.
const STEP: u64 = 64 << 10;

/// The files that are written in this process, by path: who names the same one shares it.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Mutex<Rotating>>>> = Mutex::new(BTreeMap::new());

/// Writes to one file.
#[derive(Debug)]
pub(super) struct FileExporter {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    file: Arc<Mutex<Rotating>>,
}

/// A file that is put aside when it is full.
#[derive(Debug, Default)]
struct Rotating(Option<Written>);

#[derive(Debug)]
struct Written {
    file: File,
    length: u64,
}

impl FileExporter {
    pub(super) fn new(spec: &FileSpec, signal: Signal) -> Self {
        let path = PathBuf::from(spec.path.replace(SIGNAL, signal.name()));
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, file| file.strong_count() > 0);
        let file = open.get(&path).and_then(Weak::upgrade).unwrap_or_default();
        open.insert(path.clone(), Arc::downgrade(&file));
        Self { path, max_size: spec.max_size().bytes(), max_files: spec.max_files(), file }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn send(&self, payload: &Payload) -> Outcome {
        let (payload, file) = (payload.clone(), Arc::clone(&self.file));
        let (path, max_size, max_files) = (self.path.clone(), self.max_size, self.max_files);
        let written = spawn_blocking(move || {
            let (mut text, mut rejected, mut why) = (String::new(), 0_usize, String::new());
            for request in &payload.requests {
                match lines::json(payload.signal, request) {
                    Ok(line) => text.push_str(&line),
                    Err(error) => {
                        let items = wire::check(payload.signal, request).unwrap_or_default();
                        rejected = rejected.saturating_add(items);
                        why = error;
                    }
                }
            }
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.append(&path, text.as_bytes(), max_size, max_files)?;
            Ok::<_, io::Error>((rejected, why))
        });
        let failed = |reason: String| {
            Outcome::Failed(Failure {
                reason: Reason::Unavailable,
                code: String::new(),
                message: format!("write {}: {reason}", self.path.display()),
                mend: None,
                again: Again::Later(None),
            })
        };
        match written.await {
            Ok(Ok((rejected, message))) => Outcome::Delivered { rejected, message },
            Ok(Err(error)) => failed(error.to_string()),
            Err(error) => failed(error.to_string()),
        }
    }
}

impl Rotating {
    /// Appends whole lines; when this returns, they lie on disk. On an error, none of them stays.
    fn append(
        &mut self,
        path: &Path,
        text: &[u8],
        max_size: u64,
        max_files: u32,
    ) -> io::Result<()> {
        let mut open = match self.0.take().filter(|open| open.is_at(path)) {
            Some(open) => open,
            None => Written::open(path)?,
        };
        let length = text.len() as u64;
        if open.length > 0 && open.length.saturating_add(length) > max_size {
            rotate(path, max_files)?;
            open = Written::open(path)?;
        }
        let written = open.file.write_all(text).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            // A part of what was written would be there twice when it is written again. Where it
            // cannot be taken back, at least the part of a line is, when the file is opened next.
            drop(open.file.set_len(open.length));
            return Err(error);
        }
        open.length = open.length.saturating_add(length);
        self.0 = Some(open);
        Ok(())
    }
}

impl Written {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        let whole = whole_lines(&mut file, length)?;
        if whole < length {
            file.set_len(whole)?;
        }
        sync_folder(path)?;
        Ok(Self { file, length: whole })
    }

    /// Whether the path still names this file: somebody else may have put it aside.
    fn is_at(&self, path: &Path) -> bool {
        let same = |one: std::fs::Metadata, other: std::fs::Metadata| {
            (one.dev(), one.ino()) == (other.dev(), other.ino())
        };
        match (std::fs::metadata(path), self.file.metadata()) {
            (Ok(one), Ok(other)) => same(one, other),
            _ => false,
        }
    }
}

/// The length up to the last line break: what follows was cut off while it was written, and nobody
/// was told that it is there.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(begin))?;
        Read::by_ref(file).take(end.saturating_sub(begin)).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin.saturating_add(at as u64).saturating_add(1));
        }
        end = begin;
    }
    Ok(0)
}

/// Puts the file aside, the oldest first.
fn rotate(path: &Path, max_files: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if max_files == 0 {
        std::fs::remove_file(path)?;
    } else {
        for number in (1..max_files).rev() {
            match std::fs::rename(numbered(number), numbered(number.saturating_add(1))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(path, numbered(1))?;
    }
    sync_folder(path)
}

/// Makes names last that were made or changed.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(file: &mut Rotating, path: &Path, text: &str, max_size: u64) {
        file.append(path, text.as_bytes(), max_size, 2).unwrap();
    }

    fn read(path: &Path, number: u32) -> String {
        let name = match number {
            0 => path.display().to_string(),
            number => format!("{}.{number}", path.display()),
        };
        std::fs::read_to_string(name).unwrap_or_default()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans.jsonl");
        let mut file = Rotating::default();
        for text in ["1\n", "2\n", "3\n", "4\n", "a line too long\n", "5\n"] {
            append(&mut file, &path, text, 4);
        }
        let kept = [0, 1, 2, 3].map(|number| read(&path, number));
        assert_eq!(kept, ["5\n", "a line too long\n", "3\n4\n", ""]);
    }

    #[test]
    fn a_line_that_was_cut_off_goes_and_a_file_that_is_gone_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans.jsonl");
        let long = "x".repeat(3 * usize::try_from(STEP).unwrap());
        std::fs::write(&path, format!("1\n2\n{long}")).unwrap();
        let mut file = Rotating::default();
        append(&mut file, &path, "3\n", 1 << 30);
        assert_eq!(read(&path, 0), "1\n2\n3\n");
        std::fs::rename(&path, folder.path().join("taken")).unwrap();
        append(&mut file, &path, "4\n", 1 << 30);
        assert_eq!(read(&path, 0), "4\n");
    }

    #[test]
    fn a_full_disk_leaves_no_part_of_a_line() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let file = OpenOptions::new().append(true).open(full).unwrap();
        let written = Rotating(Some(Written { file, length: 0 })).append(full, b"1\n", 100, 0);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
