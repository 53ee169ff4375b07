//! W3C Baggage: `baggage: key=value;property,key=value`.
//!
//! Source: W3C Baggage, "HTTP Header Format". Keys are tokens, values are percent-encoded UTF-8, spaces around either do
//! not count. What is no valid member is not there for readers, and is left out where there are [`Rules`].

mod carry;
mod rules;

pub use carry::Dropped;
pub use rules::{Filter, Rules, SETTINGS_MAX, Setting, is_name};

use crate::headers::Lines;
use crate::text;
use crate::writer::Writer;

/// Members that are carried where there are [`Rules`]. W3C asks for 64 at least.
pub const MEMBERS_MAX: usize = 64;

/// Bytes that are carried where there are [`Rules`]. W3C asks for 8,192 at least.
pub const BYTES_MAX: usize = 8192;

/// A valid member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The key, not decoded.
    pub key: &'a [u8],
    /// The value, still percent-encoded.
    pub value: &'a [u8],
    /// What is after the first semicolon: `property`, `property=value`, with semicolons between.
    pub properties: Option<&'a [u8]>,
    /// The member as it came, without the spaces around it.
    pub whole: &'a [u8],
}

impl<'a> Member<'a> {
    /// Reads `key=value;properties`.
    #[inline(never)]
    pub fn parse(member: &'a [u8]) -> Option<Self> {
        let whole = member.trim_ascii();
        let (pair, properties) = text::cut(whole, b';');
        let (key, value) = pair_of(pair)?;
        let mut rest = properties;
        while let Some(list) = rest {
            let (property, after) = text::cut(list, b';');
            pair_of(property)?;
            rest = after;
        }
        Some(Self { key, value: value?, properties, whole })
    }

    /// Writes the value decoded, as UTF-8: what is no escape stays as it is, and bytes that are no UTF-8 become
    /// U+FFFD.
    pub fn decode(&self, out: &mut Writer<'_>) {
        let mut bytes = Decoded(self.value);
        while let Some((byte, after)) = bytes.split() {
            if byte.is_ascii() {
                out.byte(byte);
                bytes = after;
                continue;
            }
            let mut character = [0; 4];
            let mut ahead = bytes.clone();
            for (place, byte) in character.iter_mut().zip(&mut ahead) {
                *place = byte;
            }
            let length = match byte {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            let character = character.get(..length).unwrap_or_default();
            let read = match core::str::from_utf8(character) {
                Ok(_) => {
                    out.bytes(character);
                    length
                }
                Err(error) => {
                    out.bytes("\u{fffd}".as_bytes());
                    error.error_len().unwrap_or(1)
                }
            };
            bytes = bytes.skip_bytes(read);
        }
    }
}

/// The valid members of all lines, in their order.
pub fn members<'a>(lines: &Lines<'a>) -> impl Iterator<Item = Member<'a>> {
    lines.list().filter_map(Member::parse)
}

/// The first member with that key.
pub fn find<'a>(lines: &Lines<'a>, key: &[u8]) -> Option<Member<'a>> {
    members(lines).find(|member| member.key == key)
}

/// A key, and the value if there is one; both without the spaces around them.
fn pair_of(pair: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (key, value) = text::cut(pair, b'=');
    let (key, value) = (key.trim_ascii(), value.map(<[u8]>::trim_ascii));
    let valid = !key.is_empty()
        && key.iter().all(|byte| is_token(*byte))
        && value.is_none_or(|value| value.iter().all(|byte| is_octet(*byte)));
    valid.then_some((key, value))
}

/// Writes bytes as a value: what may not stand there, and percent signs, as `%` and two digits.
pub fn escape(value: &[u8], out: &mut Writer<'_>) {
    for byte in value {
        if is_octet(*byte) && *byte != b'%' { out.byte(*byte) } else { out.escaped(*byte) }
    }
}

/// A byte of a token (RFC 7230, section 3.2.6).
fn is_token(byte: u8) -> bool {
    BYTES.get(usize::from(byte)).is_some_and(|kinds| kinds & TOKEN != 0)
}

/// A byte of a value: printable, but neither space, quote, comma, semicolon nor backslash.
fn is_octet(byte: u8) -> bool {
    BYTES.get(usize::from(byte)).is_some_and(|kinds| kinds & OCTET != 0)
}

const TOKEN: u8 = 1;
const OCTET: u8 = 2;

/// Of each byte in what it may stand.
static BYTES: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let octet = matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';' | b'\\');
        let mut kind = 0;
        if token {
            kind |= TOKEN;
        }
        if octet {
            kind |= OCTET;
        }
        #[expect(clippy::indexing_slicing, reason = "at compile time")]
        {
            kinds[byte as usize] = kind;
        }
        byte = byte.saturating_add(1);
    }
    kinds
};

/// The bytes of a percent-encoded text.
#[derive(Debug, Clone)]
struct Decoded<'a>(&'a [u8]);

impl Decoded<'_> {
    fn split(&self) -> Option<(u8, Self)> {
        if let [b'%', high, low, after @ ..] = self.0
            && let (Some(high), Some(low)) = (text::nibble(*high), text::nibble(*low))
        {
            return Some((high << 4 | low, Self(after)));
        }
        let (byte, after) = self.0.split_first()?;
        Some((*byte, Self(after)))
    }

    fn skip_bytes(mut self, count: usize) -> Self {
        for _ in 0..count {
            self.next();
        }
        self
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, after) = self.split()?;
        self.0 = after.0;
        Some(byte)
    }
}
