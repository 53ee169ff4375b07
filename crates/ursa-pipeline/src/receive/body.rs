//! Reading a request's body within its bounds.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::HeaderName;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::timeout;

use super::Limits;
use super::memory::Held;
use super::problem::Problem;
use super::watch::Inbound;
use crate::decompress::{DecompressError, gunzip, unzstd};

/// A message up to this size is copied, so that it does not hold the buffer that it was read into.
const COPIED: usize = 8 << 10;

/// A body that comes in pieces is given at once so many times the room of those that came, if it is
/// announced to be that long. Whoever announces much and sends little gets little.
const AHEAD: usize = 16;

/// So much of a refused request is read, for so long.
const DISCARDED: usize = 64 << 10;
const DISCARDED_WITHIN: Duration = Duration::from_millis(200);

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What the header `name` says; identity without it.
    pub(super) fn of(headers: &HeaderMap, name: HeaderName) -> Result<Self, Problem> {
        let Some(value) = headers.get(name) else { return Ok(Self::Identity) };
        match value.as_bytes() {
            value if value.eq_ignore_ascii_case(b"gzip") => Ok(Self::Gzip),
            value if value.eq_ignore_ascii_case(b"zstd") => Ok(Self::Zstd),
            value if value.is_empty() || value.eq_ignore_ascii_case(b"identity") => {
                Ok(Self::Identity)
            }
            other => Err(Problem::Encoding(String::from_utf8_lossy(other).into_owned())),
        }
    }

    /// Decodes a message within the bounds, holding memory for what comes out. It does not wait, so
    /// no more messages than there are threads are decoded before their memory is counted.
    pub(super) fn decode(
        self,
        message: Bytes,
        limits: &Limits,
        held: &mut Held,
    ) -> Result<Bytes, Problem> {
        let decode = match self {
            Self::Identity => return Ok(message),
            Self::Gzip => gunzip,
            Self::Zstd => unzstd,
        };
        let plain = decode(&message, limits.message).map_err(|error| match error {
            DecompressError::Malformed(_) => Problem::malformed(&error),
            DecompressError::TooLarge { limit } => Problem::TooLarge { limit },
        })?;
        held.grow(plain.len())?;
        Ok(plain.into())
    }
}

/// Reads the whole body, at most `limit` bytes and within the time for it, holding memory for it.
pub(super) async fn read(
    body: &mut Inbound,
    limit: usize,
    limits: &Limits,
    held: &mut Held,
) -> Result<Bytes, Problem> {
    let mut reading = pin!(collect(body, limit, held));
    // Most bodies are there already, and need no timer.
    let ready = poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(read) => Poll::Ready(Some(read)),
        Poll::Pending => Poll::Ready(None),
    });
    match ready.await {
        Some(read) => read,
        None => timeout(limits.read, reading).await.unwrap_or(Err(Problem::Slow)),
    }
}

/// The body is done with. Whoever is refused is read to the end, within bounds.
pub(super) async fn end<T>(answer: Result<T, Problem>, mut body: Inbound) -> Result<T, Problem> {
    if answer.is_err() {
        discard(&mut body).await;
    }
    answer
}

/// Reads a little of what is left of a request that is refused: there are clients that take the end of an
/// answer before that of their request for an error, and lose the answer.
async fn discard(body: &mut Inbound) {
    let reading = async {
        let mut left = DISCARDED;
        while let Some(Ok(frame)) = body.frame().await
            && let Some(after) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len))
        {
            left = after;
        }
    };
    // Whoever has not sent it by then is answered all the same.
    drop(timeout(DISCARDED_WITHIN, reading).await);
}

async fn collect(body: &mut Inbound, limit: usize, held: &mut Held) -> Result<Bytes, Problem> {
    let announced = body.size_hint().lower();
    let announced = usize::try_from(announced).ok().filter(|bytes| *bytes <= limit);
    let announced = announced.ok_or(Problem::TooLarge { limit })?;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::malformed(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len().max(all.len()).saturating_add(data.len());
        if length > limit {
            return Err(Problem::TooLarge { limit });
        }
        held.grow(data.len())?;
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(length.max(announced.min(length.saturating_mul(AHEAD))));
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    if !all.is_empty() {
        return Ok(all.freeze());
    }
    Ok(if first.len() <= COPIED { Bytes::copy_from_slice(&first) } else { first })
}
