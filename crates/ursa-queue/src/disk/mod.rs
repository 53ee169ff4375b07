//! The queue's directory: its files, byte by byte, and what happens to them. For users:
//! `docs/reference/queue-format.md`.
//!
//! # Files
//! The directory has mode 0700 and belongs to one queue; its files have mode 0600. Others in it are
//! left alone.
//!
//! | name | what |
//! |---|---|
//! | `lock` | empty; whoever uses the directory holds its lock (`flock`) |
//! | `<number>.segment` | records; `<number>` has 20 digits, later segments have higher ones |
//! | `cursor` | which records are settled |
//!
//! All numbers are little-endian and unsigned. Every checksum is CRC-32C. Times are microseconds:
//! those of the queue never go backward, those of the wall clock count from 1970.
//!
//! # Segment
//! A header, twice, so that no single damage makes a segment unreadable; then records without gaps.
//! One copy, 48 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `ursa-que` |
//! | 8 | 4 | version: 1. These two stay where they are in all versions |
//! | 12 | 4 | mark: a number made at random for this segment |
//! | 16 | 8 | sequence number of the first record; all lower ones are in earlier segments |
//! | 24 | 8 | the queue's time when the segment was begun |
//! | 32 | 8 | the wall clock's time at the same moment |
//! | 40 | 4 | 0 |
//! | 44 | 4 | checksum of all before |
//!
//! A record is 40 bytes and its contents:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the segment's mark, so that nothing within contents passes for a record |
//! | 4 | 4 | checksum of all that follows |
//! | 8 | 4 | length of the contents |
//! | 12 | 4 | items |
//! | 16 | 8 | sequence number: one more than that of the record before |
//! | 24 | 8 | the queue's time when it was pushed |
//! | 32 | 1 | form |
//! | 33 | 7 | 0 |
//! | 40 | length | contents |
//!
//! Records are only ever added at the end, with one write for all that are pushed meanwhile and one
//! `fdatasync` before they are acknowledged. When that fails the file is cut back to what it was. When
//! the sync failed, or cutting does, the segment is finished and a new one begins with the same
//! sequence number: what lies in a segment at or after the first number of any later one was refused,
//! and is not read. A segment is finished at the size of [`Options::segment_bytes`](crate::Options), and
//! deleted when all its records are settled. The directory is synced when a segment is made. Every
//! start begins a new one.
//!
//! # Cursor
//! Two slots of 4096 bytes, written in turns, so that one is always whole. The one with the higher
//! generation counts.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `ursa-cur` |
//! | 8 | 4 | version: 1 |
//! | 12 | 4 | how many ranges; at most 254 |
//! | 16 | 8 | generation |
//! | 24 | 16 each | range of settled sequence numbers: the first, and the one after the last |
//! | then | 4 | checksum of all before |
//!
//! It is written after every batch that is settled, by the task that writes records; when that is
//! busy for more than 100 ms, or half of [`Options::cursor_lag`](crate::Options) is settled meanwhile,
//! by another beside it, so that a slow sync of records delays it no further. When all of the lag is
//! reached nothing is handed out before it is written. So when the process is killed, what is sent
//! again is what was in flight, and of what was settled before no more than the lag, nor more than
//! was settled in 100 ms and the time of one write. A cursor that cannot be written holds nothing up:
//! that is logged, and there is no bound until it can be again.
//!
//! It is synced before segments are deleted: when power is lost, what was settled of the segments
//! that were not deleted may be sent again. Of more than 254 ranges the first and the longest are
//! written; the others lie between records of different forms while a batch of the one is in flight,
//! and are no more than the batches after it passed over. No number is used again that the cursor
//! knows as settled.
//!
//! # Start
//! Segments are read in order, in pieces of 256 KiB. Where no record begins, the next mark is sought
//! at which one does; numbers that are missing then are damaged records. At the end of the last
//! segment this is a record that was being written when the process or the power went: it is cut off.
//! A segment neither of whose headers is whole is deleted and counted. One of an unknown version is
//! refused, and everything is left as it is.

mod cursor;
mod format;
mod read;
mod recover;
mod write;

pub(crate) use cursor::{Cursor, CursorSlot};
pub(crate) use read::read;
pub(crate) use recover::{Lock, Opened, open};
pub(crate) use write::{Pending, Writer};

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock::micros;

/// Where a segment is.
fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.segment"))
}

/// Microseconds since 1970.
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, micros)
}
