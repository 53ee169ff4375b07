//! Reading records back: those of a segment that lie near each other with one read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use tracing::warn;

use super::format::{RECORD_HEADER_BYTES, RecordHeader, is_whole};
use super::segment_path;
use crate::state::Place;

/// What lies between records is read, too, if it is no longer.
const GAP_BYTES: u64 = 64 << 10;
/// No read of several records is longer. Larger pieces make the allocator keep more than it gives back.
const READ_BYTES: u64 = 256 << 10;

/// The contents of these records, in order; none for one that is damaged.
pub(crate) fn read(directory: &Path, places: &[Place]) -> io::Result<Vec<Option<Bytes>>> {
    let mut contents = Vec::with_capacity(places.len());
    let mut rest = places;
    let mut open: Option<(u64, Option<File>)> = None;
    while let Some(first) = rest.first() {
        let Some((segment, mut range)) = first.on_disk() else {
            contents.push(first.clone().into_memory());
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        let file = match &open {
            Some((number, file)) if *number == segment => file,
            _ => &open.insert((segment, open_segment(directory, segment)?)).1,
        };
        let mut count = 0;
        for place in rest {
            match place.on_disk() {
                Some((other, next)) if other == segment => {
                    let near = next.start >= range.start
                        && next.start <= range.end + GAP_BYTES
                        && next.end - range.start <= READ_BYTES;
                    if count > 0 && !near {
                        break;
                    }
                    range.end = range.end.max(next.end);
                    count += 1;
                }
                _ => break,
            }
        }
        let (near, others) = rest.split_at(count);
        rest = others;
        match file {
            None => contents.resize(contents.len() + count, None),
            Some(file) => read_near(file, segment, range, near, &mut contents)?,
        }
    }
    Ok(contents)
}

/// None if the file is gone.
fn open_segment(directory: &Path, segment: u64) -> io::Result<Option<File>> {
    match File::open(segment_path(directory, segment)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn read_near(
    file: &File,
    segment: u64,
    range: Range<u64>,
    places: &[Place],
    contents: &mut Vec<Option<Bytes>>,
) -> io::Result<()> {
    match read_range(file, range.clone()) {
        Ok(bytes) => {
            contents.extend(places.iter().map(|place| place.within(range.start, &bytes)));
            Ok(())
        }
        Err(error) if is_of_the_disk(&error) && places.len() == 1 => {
            warn!(segment, offset = range.start, %error, "cannot read a queue's record");
            contents.push(None);
            Ok(())
        }
        // Some of the records may be readable.
        Err(error) if is_of_the_disk(&error) => places.iter().try_for_each(|place| {
            let Some((_, range)) = place.on_disk() else { return Ok(()) };
            read_near(file, segment, range, std::slice::from_ref(place), contents)
        }),
        Err(error) => Err(error),
    }
}

/// EIO and its kin have no kind: what is there cannot be read, now or later.
fn is_of_the_disk(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const EBADMSG: i32 = 74;
    const EUCLEAN: i32 = 117;
    matches!(error.raw_os_error(), Some(EIO | EBADMSG | EUCLEAN))
}

/// What the file has of a range.
pub(super) fn read_range(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, range.start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

impl Place {
    /// The segment and where in it the record is.
    fn on_disk(&self) -> Option<(u64, Range<u64>)> {
        match self {
            Self::Memory(_) => None,
            Self::Disk { segment, offset, length, .. } => {
                let start = u64::from(*offset);
                let end = start + RECORD_HEADER_BYTES as u64 + u64::from(*length);
                Some((*segment, start..end))
            }
        }
    }

    /// The contents, from what was read from `start` on, if they are what was written.
    fn within(&self, start: u64, bytes: &Bytes) -> Option<Bytes> {
        let Self::Disk { mark, sequence, length, .. } = self else { return None };
        let (_, range) = self.on_disk()?;
        let from = usize::try_from(range.start - start).ok()?;
        let to = usize::try_from(range.end - start).ok()?;
        if to > bytes.len() {
            return None;
        }
        let record = bytes.slice(from..to);
        let header = RecordHeader::decode(*mark, &record)?;
        let right = header.sequence == *sequence && header.length == *length && is_whole(&record);
        right.then(|| record.slice(RECORD_HEADER_BYTES..))
    }
}
