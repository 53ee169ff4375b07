//! Reading a request's body within its bounds.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderName};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::memory::Held;
use super::problem::Problem;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// What the header `name` says; identity without it.
    pub(super) fn of(headers: &HeaderMap, name: HeaderName) -> Result<Self, Problem> {
        let Some(value) = headers.get(name) else { return Ok(Self::Identity) };
        match value.as_bytes() {
            value if value.eq_ignore_ascii_case(b"gzip") => Ok(Self::Gzip),
            value if value.is_empty() || value.eq_ignore_ascii_case(b"identity") => {
                Ok(Self::Identity)
            }
            other => Err(Problem::Encoding(String::from_utf8_lossy(other).into_owned())),
        }
    }
}

/// Reads the whole body, at most `limit` bytes, holding memory for it.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::TooLarge { limit };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > limit)
    {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::Malformed(format!("read the body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len().max(all.len()).saturating_add(data.len());
        if length > limit {
            return Err(too_large());
        }
        held.grow(data.len())?;
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(length);
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}
