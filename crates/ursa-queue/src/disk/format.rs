//! Headers of segments and records, to bytes and back.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::clock::Stamp;

/// The only version there is.
pub(super) const VERSION: u32 = 1;
const SEGMENT_MAGIC: &[u8; 8] = b"ursa-que";
/// One copy of a segment's header.
const HEADER_BYTES: usize = 48;
/// Where records begin.
pub(super) const SEGMENT_HEADER_BYTES: usize = 2 * HEADER_BYTES;
/// What stands before a record's contents.
pub(super) const RECORD_HEADER_BYTES: usize = 40;

/// A file was written by a later version of the program.
#[derive(Debug, Error)]
#[error("{} has version {found}, and this program reads version {VERSION}; it is left as it is", .path.display())]
pub(super) struct UnknownVersion {
    pub(super) path: PathBuf,
    pub(super) found: u32,
}

impl From<UnknownVersion> for io::Error {
    fn from(unknown: UnknownVersion) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, unknown)
    }
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) mark: u32,
    pub(super) first: u64,
    pub(super) stamp: Stamp,
    pub(super) wall: u64,
}

/// What could be made of a segment's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    Known(SegmentHeader),
    Unknown { version: u32 },
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        put(&mut bytes, 0, SEGMENT_MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &self.mark.to_le_bytes());
        put(&mut bytes, 16, &self.first.to_le_bytes());
        put(&mut bytes, 24, &self.stamp.to_le_bytes());
        put(&mut bytes, 32, &self.wall.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..44]);
        put(&mut bytes, 44, &checksum.to_le_bytes());
        bytes.copy_within(..HEADER_BYTES, HEADER_BYTES);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Opening {
        let mut damaged = Opening::Damaged;
        for copy in bytes.chunks_exact(HEADER_BYTES).take(2) {
            if copy.get(..8) != Some(SEGMENT_MAGIC) {
                continue;
            }
            let (version, checksum) = (u32_at(copy, 8), u32_at(copy, 44));
            let whole = copy.get(..44).map(crc32c::crc32c) == checksum;
            match (version, whole) {
                (Some(VERSION), true) => {
                    if let Some(header) = Self::fields(copy) {
                        return Opening::Known(header);
                    }
                }
                (Some(version), _) if version != VERSION => damaged = Opening::Unknown { version },
                _ => {}
            }
        }
        damaged
    }

    fn fields(copy: &[u8]) -> Option<Self> {
        let (mark, first) = (u32_at(copy, 12)?, u64_at(copy, 16)?);
        Some(Self { mark, first, stamp: u64_at(copy, 24)?, wall: u64_at(copy, 32)? })
    }
}

/// What stands before a record's contents, without mark and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) length: u32,
    pub(super) items: u32,
    pub(super) sequence: u64,
    pub(super) stamp: Stamp,
    pub(super) form: u8,
}

impl RecordHeader {
    /// For these contents, whose length is `length`.
    pub(super) fn encode(&self, mark: u32, contents: &[u8]) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        put(&mut bytes, 0, &mark.to_le_bytes());
        put(&mut bytes, 8, &self.length.to_le_bytes());
        put(&mut bytes, 12, &self.items.to_le_bytes());
        put(&mut bytes, 16, &self.sequence.to_le_bytes());
        put(&mut bytes, 24, &self.stamp.to_le_bytes());
        bytes[32] = self.form;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[8..]), contents);
        put(&mut bytes, 4, &checksum.to_le_bytes());
        bytes
    }

    /// Of a record of this segment; whether it is whole is for [`is_whole`] to say.
    pub(super) fn decode(mark: u32, bytes: &[u8]) -> Option<Self> {
        if u32_at(bytes, 0)? != mark {
            return None;
        }
        Some(Self {
            length: u32_at(bytes, 8)?,
            items: u32_at(bytes, 12)?,
            sequence: u64_at(bytes, 16)?,
            stamp: u64_at(bytes, 24)?,
            form: *bytes.get(32)?,
        })
    }
}

/// Whether the checksum of a record, header and contents, is right.
pub(super) fn is_whole(record: &[u8]) -> bool {
    record.get(8..).map(crc32c::crc32c) == u32_at(record, 4)
}

pub(super) fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader { mark: 77, first: 5, stamp: 6, wall: 7 };

    #[test]
    fn one_copy_of_the_header_is_enough() {
        let bytes = HEADER.encode();
        for at in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[at / 8] ^= 1 << (at % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Opening::Known(HEADER), "bit {at}");
        }
        assert_eq!(SegmentHeader::decode(&bytes[..60]), Opening::Known(HEADER));
        assert_eq!(SegmentHeader::decode(&bytes[..47]), Opening::Damaged);
        assert_eq!(SegmentHeader::decode(&[0; 96]), Opening::Damaged);
    }

    #[test]
    fn another_version_is_seen_whatever_follows_it() {
        let mut bytes = [9; 200];
        put(&mut bytes, 0, SEGMENT_MAGIC);
        put(&mut bytes, 8, &2_u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Opening::Unknown { version: 2 });
    }

    #[test]
    fn a_record_is_whole_or_not() {
        let header = RecordHeader { length: 3, items: 2, sequence: 9, stamp: 8, form: 1 };
        let mut bytes = header.encode(77, b"abc").to_vec();
        bytes.extend(b"abc");
        assert_eq!(RecordHeader::decode(77, &bytes), Some(header));
        assert_eq!(RecordHeader::decode(78, &bytes), None);
        assert!(is_whole(&bytes));
        for at in 4 * 8..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(!is_whole(&bytes), "bit {at}");
        }
    }
}
