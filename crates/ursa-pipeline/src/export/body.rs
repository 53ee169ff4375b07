//! Request bodies: pieces sent one after the other, as they lie in the queue.
//!
//! HTTP/2 sends each piece in frames of its own, with a system call for each frame. So what does not
//! fill frames is copied together until it does: of large pieces only their ends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// Bytes of a frame, unless the peer says that it takes larger ones (RFC 9113, section 6.5.2).
const FRAME: usize = 16 << 10;

/// Pieces sent one after the other.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    rest: VecDeque<Bytes>,
    length: u64,
}

impl Pieces {
    pub(super) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let rest: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let length = rest.iter().map(|piece| piece.len() as u64).sum();
        Self { rest, length }
    }

    /// What fills one frame, or several, while there is as much.
    fn next(&mut self) -> Option<Bytes> {
        let mut first = self.rest.pop_front()?;
        if self.rest.is_empty() {
            return Some(first);
        }
        let end = first.len() % FRAME;
        if end < first.len() {
            let tail = first.split_off(first.len() - end);
            if !tail.is_empty() {
                self.rest.push_front(tail);
            }
            return Some(first);
        }
        let mut frame = BytesMut::with_capacity(FRAME);
        frame.extend_from_slice(&first);
        while let Some(next) = self.rest.front_mut() {
            let room = FRAME - frame.len();
            if room < next.len() {
                frame.extend_from_slice(&next.split_to(room));
                break;
            }
            frame.extend_from_slice(next);
            self.rest.pop_front();
        }
        Some(frame.freeze())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.next();
        self.length -= piece.as_ref().map_or(0, Bytes::len) as u64;
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_come_in_order_and_fill_frames(lengths in prop::collection::vec(
            prop_oneof![0..100_usize, 16_000..17_000_usize, 0..100_000_usize],
            0..20,
        )) {
            let pieces = lengths.into_iter().enumerate();
            let pieces: Vec<Bytes> =
                pieces.map(|(number, length)| vec![u8::try_from(number).unwrap(); length].into()).collect();
            let mut body = Pieces::new(pieces.clone());
            let mut sent = Vec::new();
            while !body.is_end_stream() {
                prop_assert_eq!(body.size_hint().exact(), Some((pieces.concat().len() - sent.len()) as u64));
                let frame = body.frame().now_or_never().flatten();
                let data = frame.unwrap().unwrap().into_data().unwrap();
                prop_assert!(body.is_end_stream() || data.len().is_multiple_of(FRAME), "{}", data.len());
                sent.extend_from_slice(&data);
            }
            prop_assert_eq!(sent, pieces.concat());
        }
    }
}
