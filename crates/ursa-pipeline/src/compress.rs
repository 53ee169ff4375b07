//! Request bodies, compressed: fast rather than small.

use std::io::Write;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use ursa_model::backend::Compression;

use crate::compression::gzip;

/// What is larger is compressed beside the asynchronous tasks, not among them.
const INLINE_BYTES: usize = 16 << 10;
/// Zstandard's level: the cheapest of the ordinary ones.
const ZSTD_LEVEL: i32 = 1;

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
        Compression::Gzip => ("gzip", |pieces| gzip(pieces.iter().map(|piece| &**piece))),
        Compression::Zstd => ("zstd", zstd),
    };
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let compressed = if length <= INLINE_BYTES {
        work(pieces)
    } else {
        let pieces = pieces.to_vec();
        let done = spawn_blocking(move || work(&pieces)).await;
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    };
    Encoded { pieces: vec![compressed.into()], encoding: Some(encoding) }
}

/// The pieces as one Zstandard frame.
fn zstd(pieces: &[Bytes]) -> Vec<u8> {
    const MEMORY: &str = "writing to memory does not fail";
    let length = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).expect("the level is known");
    encoder.set_pledged_src_size(Some(length)).expect("nothing is written yet");
    for piece in pieces {
        encoder.write_all(piece).expect(MEMORY);
    }
    encoder.finish().expect(MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decompress::gunzip;

    #[tokio::test]
    async fn what_is_compressed_is_what_was_given() {
        for length in [0, 10, INLINE_BYTES, 10 * INLINE_BYTES] {
            let bytes = Bytes::from("span ".repeat(length));
            let pieces = [bytes.slice(..length), bytes.slice(length..)];
            let plain = compress(Compression::None, &pieces).await;
            assert_eq!(plain, Encoded { pieces: pieces.to_vec(), encoding: None });
            let gzip = compress(Compression::Gzip, &pieces).await;
            assert_eq!(gzip.encoding, Some("gzip"));
            assert_eq!(gunzip(&gzip.pieces.concat(), usize::MAX).unwrap(), bytes);
            let zstd = compress(Compression::Zstd, &pieces).await;
            assert_eq!(zstd.encoding, Some("zstd"));
            let mut out = Vec::new();
            zstd::stream::copy_decode(&*zstd.pieces.concat(), &mut out).unwrap();
            assert_eq!(out, bytes);
        }
    }
}
