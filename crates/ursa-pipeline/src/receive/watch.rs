//! What a connection may do besides sending requests: little, and not for long.
//!
//! A peer that sends much and asks nothing (pings, settings, streams that it resets, empty frames,
//! endless headers) is cut off, as is one that is quiet for too long. No clock is read for a request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use super::Limits;
use crate::stream::Stream;

/// Bytes that a connection may be ahead of its requests. More than flow control lets through.
const AHEAD: usize = 2 << 20;
/// Bytes around a message for each of its own: framing of small pieces.
const AROUND: usize = 2;
/// Bytes of a request besides its header and body.
const REQUEST: usize = 4 << 10;
/// A time limit is looked at so often until it is over.
const LOOKS: u32 = 4;
/// What an HTTP/2 client sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What one connection did.
#[derive(Debug)]
pub(super) struct Watch {
    /// Bytes that came.
    received: AtomicUsize,
    /// Bytes that may come.
    allowed: AtomicUsize,
    /// Requests that began.
    begun: AtomicUsize,
    /// Requests that are not answered yet.
    in_hand: AtomicUsize,
    /// Until the first request.
    first: Duration,
    /// Between requests.
    idle: Duration,
    headers: usize,
}

const ORDER: Ordering = Ordering::Relaxed;

impl Watch {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            received: AtomicUsize::new(0),
            allowed: AtomicUsize::new(AHEAD),
            begun: AtomicUsize::new(0),
            in_hand: AtomicUsize::new(0),
            first: limits.read,
            idle: limits.idle,
            headers: limits.headers as usize,
        })
    }

    /// A request began; it is in hand until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InHand {
        self.begun.fetch_add(1, ORDER);
        self.in_hand.fetch_add(1, ORDER);
        InHand { watch: Arc::clone(self) }
    }

    /// Returns when no request came for too long.
    pub(super) async fn quiet(&self) {
        let (mut seen, mut quiet) = (0, 0);
        while quiet < LOOKS {
            let begun = self.begun.load(ORDER);
            if begun != seen || self.in_hand.load(ORDER) > 0 {
                (seen, quiet) = (begun, 0);
            }
            let limit = if begun == 0 { self.first } else { self.idle };
            sleep(limit.checked_div(LOOKS).unwrap_or(limit)).await;
            let still = self.begun.load(ORDER) == seen && self.in_hand.load(ORDER) == 0;
            quiet = if still { quiet.saturating_add(1) } else { 0 };
        }
    }

    fn receive(&self, bytes: usize) -> io::Result<()> {
        let received = self.received.fetch_add(bytes, ORDER).wrapping_add(bytes);
        // Both wrap after 2⁶⁴ bytes; what counts is their distance.
        if self.allowed.load(ORDER).wrapping_sub(received).cast_signed() < 0 {
            return Err(io::Error::other("the peer sends much besides requests"));
        }
        Ok(())
    }

    fn allow(&self, bytes: usize) {
        self.allowed.fetch_add(bytes, ORDER);
    }
}

/// A request in hand.
#[derive(Debug)]
pub(super) struct InHand {
    watch: Arc<Watch>,
}

impl InHand {
    /// The request was answered. If it was refused, what is on its way of it is excused.
    pub(super) fn answered(self, refused: bool) {
        let excused = if refused { AHEAD } else { 0 };
        self.watch.allow(self.watch.headers.saturating_add(REQUEST).saturating_add(excused));
    }

    /// Watches the body too.
    pub(super) fn watched(&self, request: Request<Incoming>) -> Request<Inbound> {
        request.map(|body| Inbound { body, watch: Arc::clone(&self.watch) })
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.watch.in_hand.fetch_sub(1, ORDER);
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Inbound {
    body: Incoming,
    watch: Arc<Watch>,
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.watch.allow(data.len().saturating_mul(AROUND));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose bytes are counted.
pub(super) struct Watched {
    stream: Box<dyn Stream>,
    watch: Arc<Watch>,
    /// Read already.
    ahead: BytesMut,
}

impl Watched {
    pub(super) fn new(stream: Box<dyn Stream>, watch: Arc<Watch>) -> Self {
        Self { stream, watch, ahead: BytesMut::new() }
    }

    /// Whether the client begins as one of HTTP/2 does. What was read for it is read again.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        loop {
            let length = self.ahead.len().min(PREFACE.len());
            if self.ahead.get(..length) != PREFACE.get(..length) {
                return Ok(false);
            }
            if length == PREFACE.len() || self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Ok(length == PREFACE.len());
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(this.ahead.get(..length).unwrap_or_default());
            this.ahead.advance(length);
        }
        Poll::Ready(this.watch.receive(buffer.filled().len().saturating_sub(before)))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
