//! Text that is no text.
//!
//! Senders that copy bytes of their own clients into spans send whatever those sent: Envoy puts the
//! value of `user-agent` into a tag as it came. Decoders refuse a whole request for one such byte,
//! and one client must not cost all others their spans.

use super::schema::{self, Kind, Message};
use super::{Field, Fields, MAX_DEPTH, Value, WireError};
use crate::Signal;

/// What stands for a byte that belongs to no character.
const REPLACEMENT: u8 = b'?';

/// The request with a `?` for every byte of its texts that is not UTF-8; all else stays.
///
/// # Errors
/// The request does not walk.
pub fn mend_text(signal: Signal, request: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut mended = request.to_owned();
    mend(request, &mut mended, schema::request(signal), 0)?;
    Ok(mended)
}

/// Mends `out`, a copy of `bytes`.
fn mend(
    bytes: &[u8],
    out: &mut [u8],
    message: &'static Message,
    depth: usize,
) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::Depth);
    }
    let mut rest = out;
    for field in Fields::new(bytes) {
        let Field { number, value, raw } = field?;
        let (field, after) = rest.split_at_mut_checked(raw.len()).ok_or(WireError::Truncated)?;
        rest = after;
        let Value::Bytes(body) = value else { continue };
        let head = raw.len().saturating_sub(body.len());
        let (_, copy) = field.split_at_mut_checked(head).ok_or(WireError::Truncated)?;
        match message.kind(number) {
            Kind::Text => replace(body, copy),
            Kind::Message(inner) | Kind::Item(inner) => {
                mend(body, copy, inner, depth.saturating_add(1))?;
            }
            Kind::Attribute => mend(body, copy, &schema::KEY_VALUE, depth.saturating_add(1))?,
            _ => {}
        }
    }
    Ok(())
}

/// Replaces in `copy` what is no character in `text`.
fn replace(text: &[u8], copy: &mut [u8]) {
    let mut rest = copy;
    for chunk in text.utf8_chunks() {
        let (valid, invalid) = (chunk.valid().len(), chunk.invalid().len());
        let Some((_, from)) = rest.split_at_mut_checked(valid) else { return };
        let Some((bad, after)) = from.split_at_mut_checked(invalid) else { return };
        bad.fill(REPLACEMENT);
        rest = after;
    }
}
