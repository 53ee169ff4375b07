//! Adding records at the end, deleting segments, and saying what is settled.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, IoSlice, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::format::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{segment_path, wall_clock};
use crate::clock::Stamp;
use crate::options::Record;

/// A record that is to be written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) record: Record,
    pub(crate) at: Stamp,
}

/// Where a record was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed {
    pub(crate) segment: u64,
    pub(crate) mark: u32,
    pub(crate) offset: u32,
}

/// Writes into the directory; one at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    directory: PathBuf,
    /// To sync it.
    handle: File,
    active: Option<Active>,
    next_number: u64,
}

/// The segment at whose end is written.
#[derive(Debug)]
struct Active {
    file: File,
    number: u64,
    mark: u32,
    length: u64,
    /// Its header is not written yet.
    header: Option<SegmentHeader>,
    /// A sync failed: what the file holds is not known any more.
    suspect: bool,
}

/// Segments that the records of one group went to before the active one.
type Finished = Vec<Active>;

impl Writer {
    pub(super) fn new(directory: PathBuf, handle: File, next_number: u64) -> Self {
        Self { directory, handle, active: None, next_number }
    }

    /// Writes records that follow each other from this sequence number on, and syncs them if asked.
    /// Segments are finished at `segment_bytes`. If it fails nothing is written.
    pub(crate) fn append(
        &mut self,
        records: &[Pending],
        sequence: u64,
        segment_bytes: u64,
        sync: bool,
    ) -> io::Result<Vec<Placed>> {
        let before = self.active.as_ref().map(|active| (active.number, active.length));
        let mut finished = Vec::new();
        let appended = self.append_all(records, sequence, segment_bytes, &mut finished);
        let result = appended.and_then(|placed| match (&mut self.active, sync) {
            (Some(active), true) => active.sync().map(|()| placed),
            _ => Ok(placed),
        });
        if result.is_err() {
            self.undo(before, finished);
        }
        result
    }

    fn append_all(
        &mut self,
        records: &[Pending],
        mut sequence: u64,
        segment_bytes: u64,
        finished: &mut Finished,
    ) -> io::Result<Vec<Placed>> {
        let mut placed = Vec::with_capacity(records.len());
        let mut rest = records;
        while let Some(first) = rest.first() {
            if let Some(full) = self.active.take_if(|active| active.length >= segment_bytes) {
                finished.push(full);
                finished.last_mut().map_or(Ok(()), Active::sync)?;
            }
            let active = match &mut self.active {
                Some(active) => active,
                none => {
                    let made = Active::make(&self.directory, self.next_number, sequence, first.at)?;
                    self.next_number += 1;
                    let active = none.insert(made);
                    self.handle.sync_all()?;
                    active
                }
            };
            let count = active.append(rest, &mut sequence, segment_bytes, &mut placed)?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(placed)
    }

    /// Cuts back to what was there before a group. What cannot be cut, or whose sync failed, is not
    /// written again; nor is what comes before a segment that cannot be deleted.
    fn undo(&mut self, before: Option<(u64, u64)>, finished: Finished) {
        let mut left = false;
        for mut segment in finished.into_iter().chain(self.active.take()).rev() {
            match before {
                Some((number, length)) if number == segment.number => {
                    if let Err(error) = segment.file.set_len(length) {
                        warn!(number, %error, "cannot cut a queue's segment; it is finished");
                    } else if !segment.suspect && !left {
                        segment.length = length;
                        self.active = Some(segment);
                    }
                }
                _ => left |= !self.delete(segment.number),
            }
        }
    }

    /// Syncs what was written.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let synced = self.active.as_mut().map_or(Ok(()), Active::sync);
        if synced.is_err() {
            self.active = None;
        }
        synced
    }

    /// Deletes a segment. Says whether it is gone.
    pub(crate) fn delete(&self, number: u64) -> bool {
        let path = segment_path(&self.directory, number);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path = %path.display(), %error, "cannot delete a queue's segment");
                false
            }
            _ => true,
        }
    }
}

#[cfg(test)]
impl Writer {
    /// Goes on writing into another file, which may do as no real one does.
    pub(crate) fn redirect(&mut self, file: File) {
        self.active.as_mut().expect("something was written").file = file;
    }
}

impl Active {
    fn make(directory: &Path, number: u64, first: u64, stamp: Stamp) -> io::Result<Self> {
        let path = segment_path(directory, number);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        let mark = random();
        let header = SegmentHeader { mark, first, stamp, wall: wall_clock() };
        Ok(Self { file, number, mark, length: 0, header: Some(header), suspect: false })
    }

    /// Writes records until the segment is full, at least one, and says how many.
    fn append(
        &mut self,
        records: &[Pending],
        sequence: &mut u64,
        segment_bytes: u64,
        placed: &mut Vec<Placed>,
    ) -> io::Result<usize> {
        let opening = self.header.map(|header| header.encode());
        let mut length = self.length + opening.map_or(0, |_| SEGMENT_HEADER_BYTES as u64);
        let mut headers = Vec::new();
        for Pending { record, at } in records {
            if !headers.is_empty() && length >= segment_bytes {
                break;
            }
            let header = RecordHeader {
                length: u32::try_from(record.bytes.len()).map_err(io::Error::other)?,
                items: record.items,
                sequence: *sequence,
                stamp: *at,
                form: record.form,
            };
            headers.push(header.encode(self.mark, &record.bytes));
            let offset = u32::try_from(length).map_err(io::Error::other)?;
            placed.push(Placed { segment: self.number, mark: self.mark, offset });
            length += (RECORD_HEADER_BYTES + record.bytes.len()) as u64;
            *sequence += 1;
        }
        let mut slices = Vec::with_capacity(2 * headers.len() + 1);
        slices.extend(opening.as_ref().map(|opening| IoSlice::new(opening)));
        for (header, Pending { record, .. }) in headers.iter().zip(records) {
            slices.extend([IoSlice::new(header), IoSlice::new(&record.bytes)]);
        }
        write_all(&mut self.file, &mut slices)?;
        self.header = None;
        self.length = length;
        Ok(headers.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync_data();
        self.suspect |= synced.is_err();
        synced
    }
}

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Empty ones at the start would look like an end.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A number that nobody can guess.
fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().build_hasher().finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
