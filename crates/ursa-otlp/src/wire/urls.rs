//! Attributes and names that may hold a URL with something to redact.
//!
//! The check sees every one of them anyway, so it notes whether a request has any at all. What is
//! asked here may be answered yes for nothing, but never no.

use super::fields::TextAttribute;
use super::{Fields, Value};

/// No scheme with `://` is longer, `jdbc:` and its kin included.
pub(crate) const SCHEME_BYTES: usize = 24;

/// A bit for the length of each key that [`holds_url`] knows, for its first and its last letter.
const LENGTHS: u32 = 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12 | 1 << 17 | 1 << 20;
const FIRST: u32 = letters(b"hpu");
const LAST: u32 = letters(b"ghlsty");

const fn letters(mut letters: &[u8]) -> u32 {
    let mut bits = 0;
    while let [letter, rest @ ..] = letters {
        bits |= 1 << (*letter & 31);
        letters = rest;
    }
    bits
}

/// Whether [`holds_url`] may say so: most keys differ in one of these from all that it knows.
#[inline]
fn may_hold_url(key: &[u8]) -> bool {
    let ([first, ..], [.., last]) = (key, key) else { return false };
    let bits = (LENGTHS >> (key.len() & 31)) & (FIRST >> (first & 31)) & (LAST >> (last & 31));
    bits & 1 == 1
}

/// Whether an attribute of that key holds a URL, or a part of one, whatever it begins with: keys of
/// the semantic conventions, old and new, and of Envoy.
#[inline]
pub(crate) fn holds_url(key: &[u8]) -> bool {
    match key.len() {
        8 => matches!(key, b"http.url" | b"url.full" | b"url.path"),
        9 => matches!(key, b"url.query" | b"http.path"),
        11 => key == b"http.target",
        12 => matches!(key, b"url.original" | b"url.fragment" | b"peer.address"),
        17 => key == b"http.query.string",
        20 => key == b"http.fragment.string",
        _ => false,
    }
}

/// Whether nothing but a query or a fragment is in it.
fn holds_tail(key: &[u8]) -> bool {
    matches!(key, b"url.query" | b"url.fragment" | b"http.query.string" | b"http.fragment.string")
}

/// Whether it may have a query, a fragment or credentials.
#[inline]
pub(crate) fn is_telling(text: &[u8]) -> bool {
    text.iter().fold(false, |any, byte| any | matches!(byte, b'?' | b'#' | b'@'))
}

/// Whether an attribute may have to be redacted. Most are told by their key's length and by the
/// bytes where a scheme would end, which may be those of the next attribute.
#[expect(clippy::inline_always, reason = "it is asked for every attribute")]
#[inline(always)]
pub(crate) fn is_telling_text(field: &TextAttribute<'_>) -> bool {
    // After tags and lengths of `KeyValue.value` and `AnyValue.string_value`.
    let ahead = field.value.get(4..).unwrap_or_default();
    (may_hold_url(field.key) || has_colon(ahead)) && is_telling_url(field.key, field.text)
}

/// Whether one of the first [`SCHEME_BYTES`] may be a colon, or there are not so many.
#[inline]
fn has_colon(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const COLONS: u64 = 0x3a3a_3a3a_3a3a_3a3a;
    let Some(head) = bytes.first_chunk::<SCHEME_BYTES>() else { return true };
    let (words, _) = head.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| {
        // The lowest colon becomes a zero byte, and that the highest bit of its byte.
        let differs = u64::from_le_bytes(*word) ^ COLONS;
        found | differs.wrapping_sub(ONES) & !differs
    });
    found & (ONES << 7) != 0
}

#[inline(never)]
fn is_telling_url(key: &[u8], text: &[u8]) -> bool {
    is_telling(text) && (holds_url(key) || text.iter().take(SCHEME_BYTES).any(|byte| *byte == b':'))
        || holds_tail(key)
}

/// The same for any `KeyValue`.
#[cold]
pub(crate) fn is_telling_attribute(body: &[u8]) -> bool {
    let is_tail = |field| match field {
        super::Field { number: 1, value: Value::Bytes(key), .. } => holds_tail(key),
        _ => false,
    };
    is_telling(body) || Fields::new(body).map_while(Result::ok).any(is_tail)
}
