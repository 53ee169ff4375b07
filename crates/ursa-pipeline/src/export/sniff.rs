//! What a peer speaks, by the first bytes that it sends: for words about a wrong port.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// First bytes that are kept.
const KEPT: usize = 16;

/// The first bytes that a peer sent, once it did, and the error of TLS that ended it, which HTTP/2
/// passes on as text alone.
#[derive(Debug, Clone, Default)]
pub(super) struct First(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    bytes: OnceLock<Vec<u8>>,
    error: OnceLock<rustls::Error>,
}

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Tls,
    Http1,
    Http2,
}

impl First {
    pub(super) fn spoken(&self) -> Option<Spoken> {
        match self.0.bytes.get()?.as_slice() {
            // A record of an alert or a handshake, of TLS 1.x.
            [0x15 | 0x16, 3, ..] => Some(Spoken::Tls),
            [b'H', b'T', b'T', b'P', b'/', b'1', ..] => Some(Spoken::Http1),
            // A SETTINGS frame of stream 0.
            [0, 0, _, 4, 0 | 1, 0, 0, 0, 0, ..] => Some(Spoken::Http2),
            _ => None,
        }
    }

    /// Whether nothing came at all.
    pub(super) fn is_silent(&self) -> bool {
        self.0.bytes.get().is_none()
    }

    /// The error of TLS that ended the connection.
    pub(super) fn tls_error(&self) -> Option<&rustls::Error> {
        self.0.error.get()
    }
}

/// A stream whose first bytes are kept.
#[derive(Debug)]
pub(super) struct Sniffed<S> {
    pub(super) stream: S,
    pub(super) first: First,
}

impl<S: AsyncRead + Unpin> AsyncRead for Sniffed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let kept = &self.first.0;
        match &polled {
            Poll::Ready(Ok(())) if kept.bytes.get().is_none() => {
                let read = buf.filled().get(before..).unwrap_or_default();
                if !read.is_empty() {
                    kept.bytes.get_or_init(|| read.iter().copied().take(KEPT).collect());
                }
            }
            Poll::Ready(Err(error)) => {
                if let Some(error) =
                    error.get_ref().and_then(<dyn Error + Send + Sync>::downcast_ref)
                {
                    kept.error.get_or_init(|| rustls::Error::clone(error));
                }
            }
            _ => {}
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> Sniffed<S> {
    /// Whoever hangs up may have said why just before: that is read first, though nobody asks for it.
    fn heed<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        const HUNG_UP: [io::ErrorKind; 2] =
            [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        let hung_up = matches!(&polled, Poll::Ready(Err(error)) if HUNG_UP.contains(&error.kind()));
        if !hung_up || !self.first.is_silent() {
            return polled;
        }
        let mut some = [0; KEPT];
        match Pin::new(self).poll_read(cx, &mut ReadBuf::new(&mut some)) {
            // A connection that is gone is readable at once, or will be.
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => polled,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sniffed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.heed(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.heed(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.heed(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
