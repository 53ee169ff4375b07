//! The member `dd` of `tracestate`.

use super::tags::Tags;
use super::{Datadog, priority, write_priority};
use crate::text::{self, Parts};
use crate::tracestate::MEMBER_MAX;
use crate::writer::Writer;

/// What `dd` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dd<'a> {
    /// `s`: the priority.
    pub priority: Option<i8>,
    /// `o`: the origin, with `~` for `=`.
    pub origin: Option<&'a [u8]>,
    /// `p`: the last span that Datadog knows, in hexadecimal.
    pub parent: Option<&'a [u8]>,
    value: &'a [u8],
}

impl<'a> Dd<'a> {
    /// Reads the value of `dd`.
    pub fn parse(value: &'a [u8]) -> Self {
        let mut dd = Self { value, ..Self::default() };
        for part in Parts::new(value, b';') {
            match text::cut(part, b':') {
                (b"s", Some(text)) => dd.priority = priority(text),
                (b"o", Some(origin)) if !origin.is_empty() => dd.origin = Some(origin),
                (b"p", Some(parent)) => dd.parent = Some(parent),
                _ => {}
            }
        }
        dd
    }

    /// `t.…`: the tags.
    pub(super) fn tags(&self) -> Tags<'a> {
        Tags::member(self.value)
    }
}

pub(super) fn write(datadog: &Datadog<'_>, parent: Option<&[u8]>, out: &mut Writer<'_>) {
    let start = out.length();
    if let Some(priority) = datadog.priority {
        part(start, out, |out| {
            out.bytes(b"s:");
            write_priority(priority, out);
        });
    }
    if let Some(origin) = datadog.origin {
        part(start, out, |out| {
            out.bytes(b"o:");
            encode(origin, out);
        });
    }
    if let Some(parent) = parent {
        part(start, out, |out| {
            out.bytes(b"p:");
            out.bytes(parent);
        });
    }
    for (key, value) in Tags::header(datadog.tags).filter(|(key, _)| *key != b"tid") {
        part(start, out, |out| {
            out.bytes(b"t.");
            for byte in key {
                out.byte(
                    if matches!(byte, b'!'..=b'~') && !matches!(byte, b',' | b'=' | b':' | b';') {
                        *byte
                    } else {
                        b'_'
                    },
                );
            }
            out.byte(b':');
            encode(value, out);
        });
    }
    // A member's value does not end with a space.
    while out.length() > start && out.text().is_some_and(|text| text.ends_with(b" ")) {
        out.rewind(out.length().saturating_sub(1));
    }
}

/// `=` becomes `~`, and what must not be in a member or means something in it, `~` too, becomes `_`.
fn encode(text: &[u8], out: &mut Writer<'_>) {
    for byte in text {
        out.byte(match byte {
            b'=' => b'~',
            b',' | b';' | b'~' => b'_',
            b' '..=b'~' => *byte,
            _ => b'_',
        });
    }
}

/// `~` becomes `=`.
pub(super) fn decode(text: &[u8], out: &mut Writer<'_>) {
    for byte in text {
        out.byte(if *byte == b'~' { b'=' } else { *byte });
    }
}

/// Writes one part of the value, unless it finds no room.
fn part(start: usize, out: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>)) {
    let length = out.length();
    if length > start {
        out.byte(b';');
    }
    write(out);
    if out.length().saturating_sub(start) > MEMBER_MAX {
        out.rewind(length);
    }
}
