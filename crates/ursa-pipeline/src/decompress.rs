//! gzip and zstd, with a bound on what comes out.
//!
//! Memory grows with what has come out so far, and never beyond the bound.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use thiserror::Error;
use zstd::stream::read::Decoder as ZstdDecoder;

/// Output up to this size is never "too much for its input".
const FREE_BYTES: usize = 256 * 1024;
/// How many times larger than its input an output may be. Telemetry compresses 5 to 30 times.
const MAX_RATIO: usize = 200;
/// Largest window of a zstd stream, as a power of two: what RFC 8878 asks decoders to support. It
/// takes memory as it is filled.
const MAX_WINDOW_LOG: u32 = 23;
/// How much is decompressed between two looks at the bounds.
const STEP: usize = 16 * 1024;

/// Why bytes could not be decompressed.
#[derive(Debug, Error)]
pub(crate) enum DecompressError {
    /// Not of that encoding, or cut off.
    #[error("decompress")]
    Malformed(#[source] io::Error),
    /// More than `limit` bytes, or more than [`MAX_RATIO`] times the input.
    #[error("decompresses to more than {limit} bytes")]
    TooLarge { limit: usize },
}

/// Decompresses all members of a gzip stream to at most `limit` bytes.
pub(crate) fn gunzip(input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    drain(MultiGzDecoder::new(input), input, limit)
}

/// Decompresses all frames of a zstd stream to at most `limit` bytes.
pub(crate) fn unzstd(input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decoder = ZstdDecoder::with_buffer(input).map_err(DecompressError::Malformed)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(DecompressError::Malformed)?;
    drain(decoder, input, limit)
}

fn drain(mut decoder: impl Read, input: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let limit = limit.min(input.len().saturating_mul(MAX_RATIO).max(FREE_BYTES));
    let mut output = Vec::with_capacity(input.len().saturating_mul(4).min(limit));
    loop {
        let read = decoder.by_ref().take(STEP as u64).read_to_end(&mut output);
        let read = read.map_err(DecompressError::Malformed)?;
        if output.len() > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        if read == 0 {
            return Ok(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    type Packs = fn(&[u8]) -> Vec<u8>;
    type Unpacks = fn(&[u8], usize) -> Result<Vec<u8>, DecompressError>;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 19).unwrap()
    }

    const KINDS: [(Packs, Unpacks); 2] = [(gzip, gunzip), (zstd, unzstd)];

    #[test]
    fn what_was_compressed_comes_back_in_one_piece_or_several() {
        let text = "span ".repeat(10_000);
        for (pack, unpack) in KINDS {
            let packed = pack(text.as_bytes());
            assert_eq!(unpack(&packed, text.len()).unwrap(), text.as_bytes());
            let twice = [packed.clone(), packed].concat();
            assert_eq!(unpack(&twice, 2 * text.len()).unwrap().len(), 2 * text.len());
            assert_eq!(unpack(&pack(b""), 0).unwrap(), b"");
        }
    }

    #[test]
    fn output_is_bounded_by_size_and_by_ratio() {
        for (pack, unpack) in KINDS {
            let bomb = pack(&vec![0; 10_000_000]);
            let bound = (bomb.len() * MAX_RATIO).max(FREE_BYTES);
            match unpack(&bomb, usize::MAX) {
                Err(DecompressError::TooLarge { limit }) => assert_eq!(limit, bound),
                other => panic!("{} bytes: {:?}", bomb.len(), other.map(|output| output.len())),
            }
            let packed = pack(&vec![0; 100_000]);
            let limit = 99_999;
            assert!(matches!(
                unpack(&packed, limit),
                Err(DecompressError::TooLarge { limit: 99_999 })
            ));
            assert!(unpack(&packed, 100_000).is_ok());
        }
    }

    #[test]
    fn garbage_is_malformed() {
        for (pack, unpack) in KINDS {
            let packed = pack(b"span");
            for bad in
                [&packed[..packed.len() - 2], b"span", &[packed.clone(), b"x".to_vec()].concat()]
            {
                assert!(matches!(unpack(bad, 100), Err(DecompressError::Malformed(_))), "{bad:?}");
            }
        }
    }
}
