//! gzip, with a bound on what comes out.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use thiserror::Error;

/// Output up to this size is never "too much for its input".
const FREE_BYTES: usize = 256 * 1024;
/// How many times larger than its input an output may be. Telemetry compresses 5 to 30 times.
const MAX_RATIO: usize = 200;
/// How much is decompressed between two looks at the bounds.
const STEP: usize = 16 * 1024;

/// Why bytes could not be decompressed.
#[derive(Debug, Error)]
pub(crate) enum GunzipError {
    /// Not gzip, or cut off.
    #[error("read the gzip stream")]
    Malformed(#[source] io::Error),
    /// More than `limit` bytes, or more than [`MAX_RATIO`] times the input.
    #[error("decompresses to more than {limit} bytes")]
    TooLarge { limit: usize },
}

/// Decompresses all members of a gzip stream to at most `limit` bytes.
pub(crate) fn gunzip(input: &[u8], limit: usize) -> Result<Vec<u8>, GunzipError> {
    let limit = limit.min(input.len().saturating_mul(MAX_RATIO).max(FREE_BYTES));
    let mut decoder = MultiGzDecoder::new(input);
    let mut output = Vec::with_capacity(input.len().saturating_mul(4).min(limit));
    loop {
        let read = decoder.by_ref().take(STEP as u64).read_to_end(&mut output);
        let read = read.map_err(GunzipError::Malformed)?;
        if output.len() > limit {
            return Err(GunzipError::TooLarge { limit });
        }
        if read == 0 {
            return Ok(output);
        }
    }
}

/// Compresses `chunks` as one gzip member, fast rather than small.
pub(crate) fn gzip<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for chunk in chunks {
        encoder.write_all(chunk).expect("writing to memory does not fail");
    }
    encoder.finish().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let text = "span ".repeat(10_000);
        let (one, two) = text.as_bytes().split_at(777);
        let packed = gzip([one, two].into_iter());
        assert!(packed.len() < text.len() / 10);
        assert_eq!(gunzip(&packed, text.len()).unwrap(), text.as_bytes());
        let members = [packed.clone(), packed].concat();
        assert_eq!(gunzip(&members, 2 * text.len()).unwrap().len(), 2 * text.len());
    }

    #[test]
    fn output_is_bounded_by_size_and_by_ratio() {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![0; 10_000_000]).unwrap();
        let packed = bomb.finish().unwrap();
        let limit = match gunzip(&packed, usize::MAX) {
            Err(GunzipError::TooLarge { limit }) => limit,
            other => panic!("{} bytes: {:?}", packed.len(), other.map(|output| output.len())),
        };
        assert_eq!(limit, packed.len() * MAX_RATIO);
        let packed = gzip([&*vec![0; 100_000]].into_iter());
        assert!(matches!(gunzip(&packed, 99_999), Err(GunzipError::TooLarge { limit: 99_999 })));
        assert!(gunzip(&packed, 100_000).is_ok());
    }

    #[test]
    fn garbage_is_malformed() {
        let packed = gzip([&b"span"[..]].into_iter());
        assert!(matches!(gunzip(&packed[..10], 100), Err(GunzipError::Malformed(_))));
        assert!(matches!(gunzip(b"span", 100), Err(GunzipError::Malformed(_))));
    }
}
