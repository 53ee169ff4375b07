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

/// Where the first `://` is.
pub(crate) fn scheme_end(text: &[u8]) -> Option<usize> {
    let mut start = 0_usize;
    for block in text.chunks(32) {
        // Without a branch for each byte: few blocks have a colon.
        if block.iter().fold(0, |colons, byte| colons | u8::from(*byte == b':')) != 0 {
            let colons = block.iter().enumerate().filter(|(_, byte)| **byte == b':');
            let mut ends = colons.map(|(at, _)| start.saturating_add(at));
            let is_end = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(b"://"));
            if let Some(end) = ends.find(is_end) {
                return Some(end);
            }
        }
        start = start.saturating_add(block.len());
    }
    None
}

/// Whether a text that is no attribute, such as a log's body, may hold a URL to redact.
pub(crate) fn is_telling_body(text: &[u8]) -> bool {
    is_telling(text) && scheme_end(text).is_some()
}

/// Whether an attribute may have to be redacted. Most are told by their key's length and by the bytes
/// where a scheme would end, which may be those of the next attribute; only a long text is looked through.
#[expect(clippy::inline_always, reason = "it is asked for every attribute")]
#[inline(always)]
pub(crate) fn is_telling_text(field: &TextAttribute<'_>) -> bool {
    // After tags and lengths of `KeyValue.value` and `AnyValue.string_value`.
    let ahead = field.value.get(4..).unwrap_or_default();
    (may_hold_url(field.key) || has_colon(ahead) || has_late_colon(field.text))
        && is_telling_url(field.key, field.text)
}

/// Whether one of the first [`SCHEME_BYTES`] may be a colon, or there are not so many.
#[inline]
fn has_colon(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk::<SCHEME_BYTES>() else { return true };
    any_colon(head.as_chunks().0)
}

/// Whether one of those after the first [`SCHEME_BYTES`] may be a colon.
#[inline]
fn has_late_colon(text: &[u8]) -> bool {
    const END: usize = 16;
    // Most texts are shorter, and of the others most are an id, which ends within that.
    let Some((_, late)) = text.split_at_checked(SCHEME_BYTES) else { return false };
    text.last_chunk::<END>().is_some_and(|end| any_colon(end.as_chunks().0))
        || late.len() > END && any_colon_of(late)
}

#[inline(never)]
fn any_colon_of(text: &[u8]) -> bool {
    text.iter().fold(0, |colons, byte| colons | u8::from(*byte == b':')) != 0
}

#[inline]
fn any_colon(words: &[[u8; 8]]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const COLONS: u64 = 0x3a3a_3a3a_3a3a_3a3a;
    let found = words.iter().fold(0, |found, word| {
        // The lowest colon becomes a zero byte, and that the highest bit of its byte.
        let differs = u64::from_le_bytes(*word) ^ COLONS;
        found | differs.wrapping_sub(ONES) & !differs
    });
    found & (ONES << 7) != 0
}

#[inline(never)]
fn is_telling_url(key: &[u8], text: &[u8]) -> bool {
    is_telling(text) && (holds_url(key) || scheme_end(text).is_some()) || holds_tail(key)
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
