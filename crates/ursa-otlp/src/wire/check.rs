//! The walk that tells a valid request from any other bytes.
//!
//! It is paid for every item, so what is common is short: tags and lengths of one byte, attributes
//! whose value is a scalar, and texts in ASCII, which are recognised for many attributes at once.

use super::fields::{self, TextAttribute, Walk};
use super::schema::{self, Kind, Message};
use super::{MAX_DEPTH, WireError, urls};
use crate::Signal;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Spans, data points or log records.
    pub items: usize,
    /// Those spans among them that have no valid ids; [`drop_invalid`](super::drop_invalid) takes
    /// them off.
    pub invalid_ids: usize,
    /// No attribute, no span's name or status and no log's body holds a URL with a query, a fragment
    /// or credentials, so that
    /// [`Rules::apply_checked`](crate::process::Rules::apply_checked) need not look for one.
    pub plain_urls: bool,
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
    let mut found = Checked { plain_urls: true, ..Checked::default() };
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
    let mut ascii = Ascii { left: usize::MAX };
    let mut field = Walk::new(bytes, 0);
    loop {
        let before = field.rest();
        if !field.next()? {
            break;
        }
        match (message.kind(field.number), field.wire) {
            (Kind::Attribute, 2) => {
                let rest = match before.first() {
                    Some(tag) => ascii.skip_attributes(before, *tag, &mut found.plain_urls),
                    None => before,
                };
                if rest.len() < before.len() {
                    field.skip_to(rest);
                } else {
                    found.plain_urls &= !urls::is_telling_attribute(field.body);
                    if !is_plain_attribute(field.body) {
                        walk(field.body, &schema::KEY_VALUE, deeper, found)?;
                    }
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
                // A span's name may be one, and a log's body or a span's status may hold one.
                found.plain_urls &= !(message.has_ids && urls::is_telling(field.body)
                    || (std::ptr::eq(message, &raw const schema::ANY_VALUE)
                        || std::ptr::eq(message, &raw const schema::STATUS))
                        && urls::is_telling_body(field.body));
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

impl Ascii {
    /// What comes after the attributes of that tag with which `rest` begins and that are texts in
    /// ASCII. They stand together, many of them, and most are so.
    #[inline]
    fn skip_attributes<'a>(
        &mut self,
        mut rest: &'a [u8],
        tag: u8,
        plain_urls: &mut bool,
    ) -> &'a [u8] {
        while let Some(field) = TextAttribute::first(rest, tag)
            && self.reaches(rest, field.rest)
        {
            if urls::is_telling_text(&field) {
                *plain_urls = false;
            }
            rest = field.rest;
        }
        rest
    }

    /// Whether all bytes from `from` up to `to`, which is its end, are ASCII.
    #[inline]
    fn reaches(&mut self, from: &[u8], to: &[u8]) -> bool {
        if to.len() < self.left {
            self.left = from.len().saturating_sub(ascii_length(from));
        }
        to.len() >= self.left
    }
}

/// With how many ASCII bytes these begin.
fn ascii_length(bytes: &[u8]) -> usize {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (blocks, _) = bytes.as_chunks::<32>();
    let is_ascii = |block: &&[u8; 32]| {
        let (words, _) = block.as_chunks::<8>();
        words.iter().fold(0, |all, word| all | u64::from_le_bytes(*word)) & HIGH == 0
    };
    let mut length = blocks.iter().take_while(is_ascii).count().saturating_mul(32);
    let (words, rest) = bytes.get(length..).unwrap_or_default().as_chunks::<8>();
    for word in words {
        let high = u64::from_le_bytes(*word) & HIGH;
        if high != 0 {
            return length.saturating_add(high.trailing_zeros() as usize / 8);
        }
        length = length.saturating_add(8);
    }
    length.saturating_add(rest.iter().take_while(|byte| byte.is_ascii()).count())
}

/// Whether it is a key and a scalar or empty value, each once, in order. What is not may still be
/// an attribute.
#[inline]
fn is_plain_attribute(body: &[u8]) -> bool {
    let [0x0a, rest @ ..] = body else { return false };
    let Some((key, rest)) = short(rest) else { return false };
    let [0x12, rest @ ..] = rest else { return false };
    let Some((value, [])) = short(rest) else { return false };
    if !is_text(key) {
        return false;
    }
    match value {
        [] => true,
        [0x0a, rest @ ..] => match short(rest) {
            Some((text, [])) => is_text(text),
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
