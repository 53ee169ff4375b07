//! Request bodies, compressed: fast rather than small.
//!
//! What a compressor works with takes a quarter of a MiB to one and a half, and longer to make than
//! a small body takes to be compressed. So a few are kept for whoever compresses next.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flate2::{Compress, Crc, FlushCompress, Status};
use ursa_model::backend::Compression;
use zstd::bulk::Compressor;

use crate::aside::aside;

/// Zstandard's level: the cheapest of the ordinary ones.
const ZSTD_LEVEL: i32 = 1;
/// Compressors of each kind that are kept.
const SPARES: usize = 2;
/// A gzip member's header (RFC 1952): deflate, no name, no time, compressed fast, on any system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// Room for what is compressed, made so much at a time at least.
const STEP: usize = 4 << 10;
/// Why compressing in memory cannot fail.
const MEMORY: &str = "there is room, and the settings are known";

static GZIP: Spares<Compress> = Spares(Mutex::new(Vec::new()));
static ZSTD: Spares<Compressor<'static>> = Spares(Mutex::new(Vec::new()));

/// A body as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// In order.
    pub(crate) pieces: Vec<Bytes>,
    /// The value of `content-encoding` or `grpc-encoding`; none: as it was.
    pub(crate) encoding: Option<&'static str>,
}

/// How pieces become one compressed body.
type Work = fn(&[Bytes]) -> Vec<u8>;

/// The pieces as one body. Without compression they stay where they are.
pub(crate) async fn compress(compression: Compression, pieces: &[Bytes]) -> Encoded {
    let (encoding, work): (_, Work) = match compression {
        Compression::None => return Encoded { pieces: pieces.to_vec(), encoding: None },
        Compression::Gzip => ("gzip", gzip),
        Compression::Zstd => ("zstd", zstd),
    };
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let pieces = pieces.to_vec();
    let compressed = aside(length, move || work(&pieces)).await;
    Encoded { pieces: vec![compressed.into()], encoding: Some(encoding) }
}

/// The pieces as one gzip member.
pub(crate) fn gzip(pieces: &[Bytes]) -> Vec<u8> {
    let make = || Compress::new(flate2::Compression::fast(), false);
    GZIP.lend(make, |deflate| {
        deflate.reset();
        let (mut out, mut crc) = (GZIP_HEADER.to_vec(), Crc::new());
        for piece in pieces {
            crc.update(piece);
            let mut rest = &**piece;
            while !rest.is_empty() {
                out.reserve(STEP.max(rest.len() / 8));
                let before = deflate.total_in();
                deflate.compress_vec(rest, &mut out, FlushCompress::None).expect(MEMORY);
                let taken = usize::try_from(deflate.total_in().wrapping_sub(before));
                rest = taken.ok().and_then(|taken| rest.get(taken..)).unwrap_or_default();
            }
        }
        loop {
            out.reserve(STEP);
            let status = deflate.compress_vec(&[], &mut out, FlushCompress::Finish).expect(MEMORY);
            if status == Status::StreamEnd {
                break;
            }
        }
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
        out
    })
}

/// The pieces as one Zstandard frame.
fn zstd(pieces: &[Bytes]) -> Vec<u8> {
    let whole = match pieces {
        [piece] => Cow::Borrowed(&**piece),
        several => Cow::Owned(several.concat()),
    };
    let make = || Compressor::new(ZSTD_LEVEL).expect("the level is known");
    ZSTD.lend(make, |compressor| compressor.compress(&whole).expect(MEMORY))
}

/// Compressors that are not in use.
struct Spares<T>(Mutex<Vec<T>>);

impl<T> Spares<T> {
    /// Works with a spare one, or with one that is made now.
    fn lend<R>(&self, make: impl FnOnce() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let spare = self.lock().pop();
        let mut one = spare.unwrap_or_else(make);
        let done = work(&mut one);
        let mut spares = self.lock();
        if spares.len() < SPARES {
            spares.push(one);
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decompress::{gunzip, unzstd};

    #[tokio::test]
    async fn what_is_compressed_is_what_was_given() {
        for length in [0, 10, 10_000, 100_000] {
            let text =
                (0..length).map(|number| number.to_string()).collect::<Vec<_>>().join(" span ");
            let noise: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
            for bytes in [Bytes::from(text), noise.into()] {
                let pieces = [bytes.slice(..bytes.len() / 3), bytes.slice(bytes.len() / 3..)];
                let plain = compress(Compression::None, &pieces).await;
                assert_eq!(plain, Encoded { pieces: pieces.to_vec(), encoding: None });
                let gzip = compress(Compression::Gzip, &pieces).await;
                assert_eq!(gzip.encoding, Some("gzip"));
                assert!(gunzip(&gzip.pieces.concat(), usize::MAX).unwrap() == bytes, "{length}");
                for pieces in [&pieces[..], std::slice::from_ref(&bytes)] {
                    let zstd = compress(Compression::Zstd, pieces).await;
                    assert_eq!(zstd.encoding, Some("zstd"));
                    assert!(
                        unzstd(&zstd.pieces.concat(), usize::MAX).unwrap() == bytes,
                        "{length}"
                    );
                }
            }
        }
    }
}
