//! gzip.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

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
    use crate::decompress::gunzip;

    #[test]
    fn what_was_compressed_comes_back() {
        let text = "span ".repeat(10_000);
        let (one, two) = text.as_bytes().split_at(777);
        let packed = gzip([one, two].into_iter());
        assert!(packed.len() < text.len() / 10);
        assert_eq!(gunzip(&packed, text.len()).unwrap(), text.as_bytes());
    }
}
