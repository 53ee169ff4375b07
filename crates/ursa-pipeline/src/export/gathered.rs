//! Writes that go out together.
//!
//! The HTTP/2 library hands over one frame at a time, at most 16 KiB of a batch of megabytes, and has
//! each flushed. A system call for each, and mostly a peer that is woken for each, costs as much as all
//! else that is done for a batch. So what is written is gathered until it is [`FULL`], or until the
//! connection's task has nothing more to write: it is then polled once more, and reads first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes are written at once.
const FULL: usize = 64 << 10;

/// A stream for HTTP/2, that writes much at once. Its task must read whenever it is polled.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: S,
    buffer: Vec<u8>,
    /// So much of the buffer is written.
    written: usize,
    /// The rest is to be written when the task is polled next.
    due: bool,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), written: 0, due: false }
    }

    /// Writes what was gathered.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.buffer.get(self.written..) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written = self.written.saturating_add(written),
            }
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Writes what was to be flushed. It holds no memory while there is nothing to do.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        self.buffer = Vec::new();
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.due = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.due
            && let Poll::Ready(Err(error)) = self.poll_due(cx)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.buffer.len().saturating_add(length) > FULL {
            ready!(self.poll_out(cx))?;
            if length >= FULL {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            }
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(FULL);
        }
        for buf in bufs {
            self.buffer.extend_from_slice(buf);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        if !self.due {
            self.due = true;
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Polls as a task of HTTP/2 does: reads, writes what it has, flushes after each.
    async fn send(stream: impl AsyncRead + AsyncWrite + Unpin, pieces: Vec<Vec<u8>>) {
        let mut stream = Gathered::new(stream);
        let mut pieces = pieces.into_iter();
        let mut rest = Vec::new();
        let mut byte = [0];
        poll_fn(|cx| {
            let read = Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
            if read.is_ready() {
                // The peer has all, and is gone.
                return Poll::Ready(());
            }
            loop {
                if rest.is_empty() {
                    let Some(next) = pieces.next() else { return Poll::Pending };
                    rest = next;
                }
                while !rest.is_empty() {
                    let written = ready!(Pin::new(&mut stream).poll_write(cx, &rest)).unwrap();
                    rest.drain(..written);
                }
                ready!(Pin::new(&mut stream).poll_flush(cx)).unwrap();
            }
        })
        .await;
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// In order, and all of it, though nothing is written after the last flush.
        #[test]
        fn all_that_is_flushed_arrives(
            lengths in prop::collection::vec(
                prop_oneof![1..100_usize, 10_000..20_000_usize, 60_000..70_000_usize],
                0..20,
            ),
            room in prop_oneof![1_usize..100, 1_000..200_000_usize],
        ) {
            let pieces = lengths.into_iter().enumerate();
            let pieces: Vec<Vec<u8>> =
                pieces.map(|(number, length)| vec![u8::try_from(number).unwrap(); length]).collect();
            let all = pieces.concat();
            let (near, mut far) = duplex(room);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let arrived = runtime.block_on(async {
                let receive = async {
                    let mut arrived = vec![0; all.len()];
                    far.read_exact(&mut arrived).await.unwrap();
                    far.shutdown().await.unwrap();
                    drop(far);
                    arrived
                };
                tokio::join!(send(near, pieces), receive).1
            });
            prop_assert_eq!(arrived, all);
        }
    }

    /// Counts what is written.
    #[derive(Debug, Default)]
    struct Writes(Vec<usize>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(buf.len());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn frames_are_written_together() {
        let mut stream = Gathered::new(Writes::default());
        for _ in 0..64 {
            stream.write_all(&[0; 9]).await.unwrap();
            stream.write_all(&[1; 16 << 10]).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let Writes(writes) = &stream.stream;
        assert_eq!(writes.iter().sum::<usize>(), 64 * (9 + (16 << 10)));
        assert!(writes.len() <= 22, "{writes:?}");
    }
}
