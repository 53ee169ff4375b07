//! What a directory holds when it is opened.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tracing::warn;

use super::cursor::{Cursor, CursorSlot};
use super::format::{
    Opening, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
    UnknownVersion, is_whole,
};
use super::read::read_range;
use super::write::Writer;
use super::{segment_path, wall_clock};
use crate::clock::{Clock, Stamp};
use crate::options::{Options, Recovered};
use crate::state::{Entry, Phase, State};

/// How much is read at once.
const PIECE_BYTES: u64 = 256 << 10;

/// An opened directory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) lock: Lock,
    pub(crate) writer: Writer,
    pub(crate) cursor: Cursor,
    pub(crate) state: State,
    pub(crate) clock: Clock,
    pub(crate) recovered: Recovered,
}

/// Opens a directory, and finds what waits in it.
pub(crate) fn open(directory: &Path, options: &Options) -> io::Result<Opened> {
    make_directory(directory)?;
    let lock = lock(directory)?;
    let (mut cursor, settled) = Cursor::open(directory)?;
    let segments = segments(directory)?;
    let next_number = segments.last().map_or(0, |last| last.number + 1);
    let mut recovery = Recovery {
        directory: directory.to_owned(),
        state: State::recovering(options, settled),
        recovered: Recovered::default(),
        expected: None,
        doubt: false,
        time: None,
    };
    recovery.run(&segments)?;
    let Recovery { mut state, recovered, time, .. } = recovery;
    state.recovery_ends();
    let now = wall_clock();
    let clock = match time {
        Some((newest, then)) => Clock::resume(newest, then, now, options.max_age),
        None => Clock::starting_at(0),
    };
    let handle = File::open(directory)?;
    let writer = Writer::new(directory.to_owned(), handle, next_number);
    cursor.write(&CursorSlot::new(&state.settled));
    let gone = std::mem::take(&mut state.gone);
    if !gone.is_empty() {
        cursor.written().sync();
    }
    for number in gone {
        writer.delete(number);
    }
    Ok(Opened { lock, writer, cursor, state, clock, recovered })
}

/// Makes the directory and those above it that are missing, and syncs where their names stand.
fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        let parent = if parent == Path::new("") { Path::new(".") } else { parent };
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Keeps others out of a directory.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// At once: closing the file would not do while a process that is just being started has it, too.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            warn!(%error, "cannot unlock a queue's directory");
        }
    }
}

fn lock(directory: &Path) -> io::Result<Lock> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("another process uses the queue in {}", directory.display()),
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[derive(Debug)]
struct Found {
    number: u64,
    length: u64,
    /// None if it is damaged.
    header: Option<SegmentHeader>,
}

/// The directory's segments in order. Nothing was changed yet if one is of an unknown version.
fn segments(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".segment"));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        let path = segment_path(directory, number);
        if path.file_name() != Some(&name) {
            continue;
        }
        let file = File::open(&path)?;
        let header =
            match SegmentHeader::decode(&read_range(&file, 0..SEGMENT_HEADER_BYTES as u64)?) {
                Opening::Known(header) => Some(header),
                Opening::Damaged => None,
                Opening::Unknown { version } => {
                    return Err(UnknownVersion { path, found: version }.into());
                }
            };
        found.push(Found { number, length: file.metadata()?.len(), header });
    }
    found.sort_unstable_by_key(|segment| segment.number);
    Ok(found)
}

#[derive(Debug)]
struct Recovery {
    directory: PathBuf,
    state: State,
    recovered: Recovered,
    /// The number after the last one seen; none as long as none was.
    expected: Option<u64>,
    /// Something between there and here cannot be read.
    doubt: bool,
    /// The latest of the queue's times seen, and the wall clock's at the same moment.
    time: Option<(Stamp, u64)>,
}

impl Recovery {
    fn run(&mut self, segments: &[Found]) -> io::Result<()> {
        // The lowest number in any later segment: what is not below it was refused.
        let mut limits = Vec::with_capacity(segments.len());
        let mut limit = u64::MAX;
        for segment in segments.iter().rev() {
            limits.push(limit);
            limit = segment.header.map_or(limit, |header| header.first.min(limit));
        }
        let last = segments.last().map(|last| last.number);
        for (segment, limit) in segments.iter().zip(limits.into_iter().rev()) {
            let last = last == Some(segment.number);
            match &segment.header {
                Some(header) if header.first >= limit => {
                    let path = segment_path(&self.directory, segment.number);
                    warn!(path = %path.display(), "a queue's segment was refused; it is deleted");
                    std::fs::remove_file(path)?;
                }
                Some(header) => self.segment(segment, header, last, limit)?,
                None => self.damaged(segment, last)?,
            }
        }
        Ok(())
    }

    /// A segment of which nothing can be read.
    fn damaged(&mut self, segment: &Found, last: bool) -> io::Result<()> {
        let path = segment_path(&self.directory, segment.number);
        if last && segment.length <= SEGMENT_HEADER_BYTES as u64 {
            self.recovered.cut_tail_bytes += segment.length;
        } else {
            warn!(path = %path.display(), "a queue's segment is damaged; it is deleted");
            self.recovered.damaged_bytes += segment.length;
            // How many there were shows when a later segment is seen.
            if last {
                self.recovered.damaged_records += 1;
            }
            self.doubt = true;
        }
        std::fs::remove_file(path)
    }

    fn segment(
        &mut self,
        segment: &Found,
        header: &SegmentHeader,
        last: bool,
        limit: u64,
    ) -> io::Result<()> {
        let SegmentHeader { mark, first, stamp, wall } = *header;
        self.missing(first);
        self.state.next = first;
        self.state.begin_segment(segment.number, mark);
        let path = segment_path(&self.directory, segment.number);
        let mut window = Window::new(File::open(&path)?, segment.length);
        let mut newest = stamp;
        let mut good = SEGMENT_HEADER_BYTES as u64;
        let mut from = good;
        while let Some(found) = next_record(&mut window, mark, from, good, self.state.next)? {
            let RecordHeader { length, items, sequence, stamp, form } = found.header;
            if sequence >= limit {
                break;
            }
            self.recovered.damaged_bytes += found.range.start - good;
            while self.state.next < sequence {
                self.lost(self.state.next);
                self.state.recover(None);
            }
            let Ok(offset) = u32::try_from(found.range.start) else { break };
            good = found.range.end;
            from = good;
            newest = newest.max(stamp);
            if self.state.settled.contains(sequence) {
                self.state.recover(None);
                continue;
            }
            let phase = Phase::Waiting;
            let entry = Entry { at: stamp, offset, length, items, source: 0, form, phase };
            self.state.recover(Some(entry));
            self.recovered.records += 1;
            self.recovered.items += u64::from(items);
            self.recovered.bytes += u64::from(length);
        }
        self.expected = Some(self.state.next);
        self.doubt = false;
        if self.time.is_none_or(|(latest, _)| latest <= newest) {
            self.time = Some((newest, wall.saturating_add(newest - stamp)));
        }
        let tail = segment.length.saturating_sub(good);
        if tail > 0 && last {
            self.recovered.cut_tail_bytes += tail;
            OpenOptions::new().write(true).open(path)?.set_len(good)?;
        } else if tail > 0 {
            self.recovered.damaged_bytes += tail;
            self.doubt = true;
        }
        Ok(())
    }

    /// What is missing before `first` is damaged, if there is a reason to think so. What was deleted
    /// with its segment is missing, too.
    fn missing(&mut self, first: u64) {
        let settled = self.state.settled.iter().next().filter(|range| range.start == 0);
        let seen = self.expected.unwrap_or(settled.map_or(0, |range| range.end));
        if self.doubt {
            // Each took room in a file; more are not believed.
            let most = self.recovered.damaged_bytes / RECORD_HEADER_BYTES as u64;
            let mut sequence = seen.max(first.saturating_sub(most));
            while sequence < first {
                self.lost(sequence);
                sequence += 1;
            }
        }
    }

    fn lost(&mut self, sequence: u64) {
        if !self.state.settled.contains(sequence) {
            self.recovered.damaged_records += 1;
            self.state.settled.insert(sequence..sequence + 1);
        }
    }
}

/// A whole record.
struct Whole {
    header: RecordHeader,
    range: Range<u64>,
}

/// The next whole record at or after `from`. `good` is where the last one ended, and no number lower
/// than `expected` can follow it.
fn next_record(
    window: &mut Window,
    mark: u32,
    mut from: u64,
    good: u64,
    expected: u64,
) -> io::Result<Option<Whole>> {
    loop {
        if let Some(whole) = record_at(window, mark, from)? {
            // Every record that is missing took room.
            let most = (from - good) / RECORD_HEADER_BYTES as u64;
            let missing = whole.header.sequence.checked_sub(expected);
            if missing.is_some_and(|missing| missing <= most) {
                return Ok(Some(whole));
            }
        }
        match window.find(mark.to_le_bytes(), from + 1)? {
            Some(next) => from = next,
            None => return Ok(None),
        }
    }
}

fn record_at(window: &mut Window, mark: u32, at: u64) -> io::Result<Option<Whole>> {
    let header = window.bytes(at, RECORD_HEADER_BYTES as u64)?;
    let Some(header) = RecordHeader::decode(mark, header) else { return Ok(None) };
    let length = RECORD_HEADER_BYTES as u64 + u64::from(header.length);
    let record = window.bytes(at, length)?;
    let whole = record.len() as u64 == length && is_whole(record);
    Ok(whole.then_some(Whole { header, range: at..at + length }))
}

/// A file, read in pieces.
struct Window {
    file: File,
    length: u64,
    start: u64,
    piece: Bytes,
}

impl Window {
    fn new(file: File, length: u64) -> Self {
        Self { file, length, start: 0, piece: Bytes::new() }
    }

    /// So much from `at` on, or what there is of it.
    fn bytes(&mut self, at: u64, length: u64) -> io::Result<&[u8]> {
        let end = at.saturating_add(length).min(self.length);
        if at < self.start || end > self.start + self.piece.len() as u64 {
            let piece = at..at.saturating_add(length.max(PIECE_BYTES)).min(self.length);
            self.piece = Bytes::new();
            self.start = at;
            if piece.start < piece.end {
                self.piece = read_range(&self.file, piece)?;
            }
        }
        let from = usize::try_from(at - self.start).map_err(io::Error::other)?;
        let to = usize::try_from(end.saturating_sub(self.start)).map_err(io::Error::other)?;
        Ok(self.piece.get(from..to.min(self.piece.len())).unwrap_or_default())
    }

    /// Where these bytes are next, at or after `from`.
    fn find(&mut self, bytes: [u8; 4], mut from: u64) -> io::Result<Option<u64>> {
        while from < self.length {
            let piece = self.bytes(from, PIECE_BYTES)?;
            if piece.len() < bytes.len() {
                return Ok(None);
            }
            if let Some(at) = piece.windows(bytes.len()).position(|window| window == bytes) {
                return Ok(Some(from + at as u64));
            }
            from += (piece.len() - bytes.len() + 1) as u64;
        }
        Ok(None)
    }
}
