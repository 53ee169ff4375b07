//! The file that says what is settled.

use std::cmp::Reverse;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::format::{UnknownVersion, VERSION, put, u32_at, u64_at};
use crate::ranges::Ranges;

const MAGIC: &[u8; 8] = b"ursa-cur";
const SLOT_BYTES: usize = 4096;
const HEADER_BYTES: usize = 24;
const RANGE_BYTES: usize = 16;
const MAX_RANGES: usize = (SLOT_BYTES - HEADER_BYTES - 4) / RANGE_BYTES;

#[derive(Debug)]
pub(crate) struct Cursor {
    path: PathBuf,
    /// None as long as it could not be made.
    file: Option<Arc<File>>,
    generation: u64,
    /// The last write failed, which was said.
    failing: bool,
}

impl Cursor {
    /// The cursor of a directory, and what it says.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Ranges)> {
        let path = directory.join("cursor");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut latest: Option<(u64, Ranges)> = None;
        for slot in bytes.chunks(SLOT_BYTES).take(2) {
            match decode(slot) {
                Slot::Known(generation, settled) => {
                    if latest.as_ref().is_none_or(|(latest, _)| generation > *latest) {
                        latest = Some((generation, settled));
                    }
                }
                Slot::Unknown(found) => return Err(UnknownVersion { path, found }.into()),
                Slot::Damaged => {}
            }
        }
        let (generation, settled) = latest.unwrap_or_default();
        Ok((Self { path, file: None, generation, failing: false }, settled))
    }

    /// Writes what is settled over what was written the time before last. Says whether it could, and
    /// logs if not.
    pub(crate) fn write(&mut self, slot: &CursorSlot) -> bool {
        let written = self.try_write(slot);
        if let Err(error) = &written
            && !self.failing
        {
            warn!(path = %self.path.display(), %error, "cannot write a queue's cursor; after a crash more is sent again");
        }
        self.failing = written.is_err();
        !self.failing
    }

    fn try_write(&mut self, slot: &CursorSlot) -> io::Result<()> {
        let generation = self.generation.saturating_add(1);
        let bytes = slot.encode(generation);
        let file = match &mut self.file {
            Some(file) => file,
            made => made.insert(Arc::new(make(&self.path)?)),
        };
        file.write_all_at(&bytes, (generation % 2) * SLOT_BYTES as u64)?;
        self.generation = generation;
        Ok(())
    }

    /// What was written so far.
    pub(crate) fn written(&self) -> Written {
        Written(self.file.clone())
    }
}

/// A cursor to sync, while it may be written.
#[derive(Debug)]
pub(crate) struct Written(Option<Arc<File>>);

impl Written {
    /// Has it survive the loss of power. Logs if that fails.
    pub(crate) fn sync(&self) {
        let synced = self.0.as_ref().map_or(Ok(()), |file| file.sync_data());
        if let Err(error) = synced {
            warn!(%error, "cannot sync a queue's cursor; after a loss of power more is sent again");
        }
    }
}

/// Opens the file, with all of its room taken, so that it can be written when the disk is full.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // What is there stays: it may be the only slot.
    let length = file.metadata()?.len();
    let missing = (2 * SLOT_BYTES as u64).saturating_sub(length);
    file.write_all_at(&vec![0; usize::try_from(missing).map_err(io::Error::other)?], length)?;
    Ok(file)
}

/// The first range and the longest others, as many as there is room for.
fn most(settled: &Ranges) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> = settled.iter().collect();
    if let Some(others) = ranges.get_mut(1..).filter(|others| others.len() >= MAX_RANGES) {
        others.select_nth_unstable_by_key(MAX_RANGES - 1, |range| Reverse(range.end - range.start));
        ranges.truncate(MAX_RANGES);
    }
    ranges
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct CursorSlot(Vec<u8>);

impl CursorSlot {
    pub(crate) fn new(settled: &Ranges) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        let mut count = 0_u32;
        for range in most(settled) {
            bytes.extend(range.start.to_le_bytes());
            bytes.extend(range.end.to_le_bytes());
            count += 1;
        }
        put(&mut bytes, 12, &count.to_le_bytes());
        Self(bytes)
    }

    fn encode(&self, generation: u64) -> Vec<u8> {
        let mut bytes = self.0.clone();
        put(&mut bytes, 16, &generation.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }
}

enum Slot {
    Known(u64, Ranges),
    Unknown(u32),
    Damaged,
}

fn decode(slot: &[u8]) -> Slot {
    if slot.get(..8) != Some(MAGIC) {
        return Slot::Damaged;
    }
    match whole(slot) {
        Some((generation, settled)) => Slot::Known(generation, settled),
        None => match u32_at(slot, 8) {
            Some(version) if version != VERSION && !is_damage(slot) => Slot::Unknown(version),
            _ => Slot::Damaged,
        },
    }
}

fn whole(slot: &[u8]) -> Option<(u64, Ranges)> {
    let count = usize::try_from(u32_at(slot, 12)?).ok()?;
    if u32_at(slot, 8)? != VERSION || count > MAX_RANGES {
        return None;
    }
    let end = HEADER_BYTES + count * RANGE_BYTES;
    if slot.get(..end).map(crc32c::crc32c)? != u32_at(slot, end)? {
        return None;
    }
    let mut settled = Ranges::default();
    for range in slot.get(HEADER_BYTES..end)?.chunks_exact(RANGE_BYTES) {
        settled.insert(u64_at(range, 0)?..u64_at(range, 8)?);
    }
    Some((u64_at(slot, 16)?, settled))
}

/// Whether the slot is whole but for its version, which then is no other version.
fn is_damage(slot: &[u8]) -> bool {
    let mut mended = slot.to_vec();
    put(&mut mended, 8, &VERSION.to_le_bytes());
    whole(&mended).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(end: u64) -> Ranges {
        let mut settled = Ranges::default();
        settled.insert(0..end);
        settled.insert(end + 2..end + 4);
        settled
    }

    #[test]
    fn the_slot_before_counts_when_one_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let (mut cursor, found) = Cursor::open(directory.path()).unwrap();
        assert_eq!(found, Ranges::default());
        assert!(cursor.write(&CursorSlot::new(&settled(5))));
        assert!(cursor.write(&CursorSlot::new(&settled(6))));
        let bytes = std::fs::read(directory.path().join("cursor")).unwrap();
        assert_eq!(bytes.len(), 2 * SLOT_BYTES);
        // The second write went to the first slot.
        for at in 0..(HEADER_BYTES + 2 * RANGE_BYTES + 4) * 8 {
            let mut bytes = bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            std::fs::write(directory.path().join("cursor"), bytes).unwrap();
            assert_eq!(Cursor::open(directory.path()).unwrap().1, settled(5), "bit {at}");
        }
        std::fs::write(directory.path().join("cursor"), bytes).unwrap();
        assert_eq!(Cursor::open(directory.path()).unwrap().1, settled(6));
    }

    #[test]
    fn the_longest_ranges_for_which_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let (mut cursor, _) = Cursor::open(directory.path()).unwrap();
        let mut settled = Ranges::default();
        for at in 0..1000_u64 {
            settled.insert(at * 10..at * 10 + if at % 5 == 4 { 7 } else { 1 });
        }
        assert!(cursor.write(&CursorSlot::new(&settled)));
        let found: Vec<_> = Cursor::open(directory.path()).unwrap().1.iter().collect();
        let long = found.iter().filter(|range| range.end - range.start == 7).count();
        assert_eq!((found.len(), found[0].clone(), long), (254, 0..1, 200));
        assert!(found.iter().all(|range| settled.iter().any(|all| all == *range)));
    }
}
