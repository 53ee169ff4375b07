//! W3C Baggage: `baggage: key=value;property,key=value`.
//!
//! Source: W3C Baggage, "HTTP Header Format". Keys are tokens, values are percent-encoded UTF-8, spaces around either do
//! not count. What is no valid member is not there for readers, and is left out by [`write()`].

use crate::headers::Lines;
use crate::text::{self, Parts};
use crate::writer::Writer;

/// Members that are carried. W3C asks for 64 at least.
pub const MEMBERS_MAX: usize = 64;

/// Bytes that are carried. W3C asks for 8,192 at least.
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

/// What is carried on, and what is added.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// Keys that may pass, with commas between; `x-*` are all that begin so. None: all may.
    pub allow: Option<&'a [u8]>,
    /// Keys that must not pass, written as those of `allow`; they win.
    pub deny: &'a [u8],
    /// Keys and values that are set, in place of all members of that key. Their keys are tokens, their values any
    /// bytes. They are not asked for in `allow` and `deny`.
    pub set: &'a [(&'a [u8], &'a [u8])],
}

impl Rules<'_> {
    fn allows(&self, key: &[u8]) -> bool {
        self.allow.is_none_or(|allow| lists(allow, key)) && !lists(self.deny, key)
    }

    fn sets(&self, key: &[u8]) -> bool {
        self.set.iter().any(|(set, _)| *set == key)
    }
}

/// What became of the members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Members that were written.
    pub members: usize,
    /// Members that were cut, since they are too many or too long.
    pub cut: usize,
    /// Members that must not pass.
    pub denied: usize,
    /// What was there and is no member.
    pub invalid: usize,
    /// Whether the header must be set: what was written is not what came.
    pub changed: bool,
}

/// Writes one line of what may pass and what is set.
///
/// Members stay as they came and in their order; those that are set come last, and there is always room for them
/// first. At most [`MEMBERS_MAX`] and [`BYTES_MAX`], and what `out` holds: the first member that finds no room is cut,
/// with all after it.
pub fn write(lines: &Lines<'_>, rules: &Rules<'_>, out: &mut Writer<'_>) -> Carried {
    let mut carried = Carried { changed: lines.count() > 1, ..Carried::default() };
    let room = out.room().min(BYTES_MAX);
    let mut own = Writer::new(&mut []);
    for (key, value) in rules.set {
        set(key, value, &mut own);
        own.byte(b',');
        carried.changed = true;
    }
    let bytes = room.saturating_sub(own.length());
    let members = MEMBERS_MAX.saturating_sub(rules.set.len());
    for part in lines.list() {
        let Some(member) = Member::parse(part) else {
            count(&mut carried.invalid);
            continue;
        };
        if rules.sets(member.key) {
            continue;
        }
        if !rules.allows(member.key) {
            count(&mut carried.denied);
            continue;
        }
        let length = out.length();
        if carried.cut == 0 && carried.members < members {
            comma(out);
            out.bytes(member.whole);
            if out.length() <= bytes {
                count(&mut carried.members);
                continue;
            }
        }
        out.rewind(length);
        count(&mut carried.cut);
    }
    for (key, value) in rules.set {
        let length = out.length();
        comma(out);
        set(key, value, out);
        if out.length() <= room {
            count(&mut carried.members);
        } else {
            out.rewind(length);
            count(&mut carried.cut);
        }
    }
    carried.changed |= carried.cut != 0 || carried.denied != 0 || carried.invalid != 0;
    carried
}

fn set(key: &[u8], value: &[u8], out: &mut Writer<'_>) {
    out.bytes(key);
    out.byte(b'=');
    for byte in value {
        if is_octet(*byte) && *byte != b'%' { out.byte(*byte) } else { out.escaped(*byte) }
    }
}

fn comma(out: &mut Writer<'_>) {
    if out.length() > 0 {
        out.byte(b',');
    }
}

fn count(what: &mut usize) {
    *what = what.saturating_add(1);
}

fn lists(keys: &[u8], key: &[u8]) -> bool {
    Parts::new(keys, b',').any(|listed| match listed {
        [start @ .., b'*'] => key.starts_with(start),
        listed => listed == key,
    })
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

/// A byte of a token (RFC 7230, section 3.2.6).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A byte of a value: printable, but neither space, quote, comma, semicolon nor backslash.
fn is_octet(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

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
