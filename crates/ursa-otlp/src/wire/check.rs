//! The walk that tells a valid request from any other bytes.
//!
//! It is paid for every item, so what is common is short: tags and lengths of one byte, attributes
//! whose value is a scalar, and texts in ASCII, which are recognised for many attributes at once.

use super::fields::{self, Walk};
use super::schema::{self, Kind, Message};
use super::{MAX_DEPTH, WireError};
use crate::Signal;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Spans, data points or log records.
    pub items: usize,
    /// Those spans among them that have no valid ids; [`drop_invalid`](super::drop_invalid) takes
    /// them off.
    pub invalid_ids: usize,
}

/// Walks a whole export request and counts its spans, data points or log records.
///
/// # Errors
/// The bytes are not a valid request of that signal.
pub fn check(signal: Signal, request: &[u8]) -> Result<usize, WireError> {
    Ok(inspect(signal, request)?.items)
}

/// [`check()`], and how many spans have no valid ids.
///
/// # Errors
/// The bytes are not a valid request of that signal.
pub fn inspect(signal: Signal, request: &[u8]) -> Result<Checked, WireError> {
    let mut found = Checked::default();
    walk(request, schema::request(signal), 0, &mut found)?;
    Ok(found)
}

fn walk(
    bytes: &[u8],
    message: &'static Message,
    depth: usize,
    found: &mut Checked,
) -> Result<(), WireError> {
    if depth > MAX_DEPTH {
        return Err(WireError::Depth);
    }
    let deeper = depth.saturating_add(1);
    let (mut trace_id, mut span_id) = (false, false);
    let mut ascii = Ascii::default();
    let mut field = Walk::new(bytes, 0);
    loop {
        let before = field.rest();
        if !field.next()? {
            break;
        }
        match (message.kind(field.number), field.wire) {
            (Kind::Attribute, 2) => {
                let plain = ascii.reaches(before, field.rest());
                if !is_plain_attribute(field.body, plain) {
                    walk(field.body, &schema::KEY_VALUE, deeper, found)?;
                }
            }
            (Kind::Unknown, _)
            | (Kind::Varint | Kind::Varints, 0)
            | (Kind::Fixed32, 5)
            | (Kind::Fixed64 | Kind::Fixed64s, 1)
            | (Kind::Bytes, 2) => {}
            (Kind::TraceId, 2) => trace_id = is_id::<16>(field.body),
            (Kind::SpanId, 2) => span_id = is_id::<8>(field.body),
            (Kind::Text, 2) => {
                if !is_text(field.body) {
                    return Err(WireError::Text { message: message.name, number: field.number });
                }
            }
            (Kind::Fixed64s, 2) => {
                if !field.body.len().is_multiple_of(8) {
                    return Err(WireError::Truncated);
                }
            }
            (Kind::Varints, 2) => fields::check_varints(field.body)?,
            (Kind::Message(inner), 2) => walk(field.body, inner, deeper, found)?,
            (Kind::Item(inner), 2) => {
                walk(field.body, inner, deeper, found)?;
                found.items = found.items.saturating_add(1);
            }
            _ => return Err(WireError::Type { message: message.name, number: field.number }),
        }
    }
    if message.has_ids && !(trace_id && span_id) {
        found.invalid_ids = found.invalid_ids.saturating_add(1);
    }
    Ok(())
}

/// How far ahead a message is ASCII. Many short texts are so checked by one scan.
struct Ascii {
    /// So many bytes were left where it ended.
    left: usize,
}

impl Default for Ascii {
    fn default() -> Self {
        Self { left: usize::MAX }
    }
}

impl Ascii {
    /// Whether all bytes from `from` up to `to`, which is its end, are ASCII.
    #[inline]
    fn reaches(&mut self, from: &[u8], to: &[u8]) -> bool {
        if to.len() < self.left {
            self.left = from.len().saturating_sub(ascii_length(from));
        }
        to.len() >= self.left
    }
}

/// How many bytes are ASCII before the first block that is not all so.
fn ascii_length(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut length = 0_usize;
    for block in blocks {
        if block.iter().fold(0, |all, byte| all | byte) >= 0x80 {
            return length;
        }
        length = length.saturating_add(32);
    }
    if rest.is_ascii() { bytes.len() } else { length }
}

/// Whether it is a key and a scalar or empty value, each once, in order. What is not may still be
/// an attribute. `ascii`: the texts need no look.
#[inline]
fn is_plain_attribute(body: &[u8], ascii: bool) -> bool {
    let [0x0a, rest @ ..] = body else { return false };
    let Some((key, rest)) = short(rest) else { return false };
    let [0x12, rest @ ..] = rest else { return false };
    let Some((value, [])) = short(rest) else { return false };
    if !ascii && !is_text(key) {
        return false;
    }
    match value {
        [] => true,
        [0x0a, rest @ ..] => match short(rest) {
            Some((text, [])) => ascii || is_text(text),
            _ => false,
        },
        [0x10 | 0x18, number] => *number < 0x80,
        [0x21, number @ ..] => number.len() == 8,
        _ => false,
    }
}

/// What a length of one or two bytes leads, and what comes after.
#[inline]
fn short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [length @ 0..0x80, rest @ ..] => rest.split_at_checked(usize::from(*length)),
        [low, high @ 0..0x80, rest @ ..] => {
            rest.split_at_checked(usize::from(*low & 0x7f) | usize::from(*high) << 7)
        }
        _ => None,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

fn is_id<const N: usize>(bytes: &[u8]) -> bool {
    <&[u8; N]>::try_from(bytes).is_ok_and(|id| *id != [0; N])
}
