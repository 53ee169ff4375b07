//! Tags that travel with a trace: `_dd.p.<key>=<value>` in the header, `t.<key>:<value>` in `dd`.

use super::{TAGS_MAX, dd};
use crate::text::{self, Parts};
use crate::writer::Writer;

const PREFIX: &[u8] = b"_dd.p.";

/// Bytes of `_dd.p.tid=`, its 16 digits, and a comma.
const TID: usize = 27;

/// Keys without their prefix, and values; what is no such tag is left out.
#[derive(Debug, Clone)]
pub(super) struct Tags<'a> {
    parts: Parts<'a>,
    prefix: &'static [u8],
    is: u8,
}

/// What becomes of the tag `dm`, which says who took the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decider {
    /// It stays.
    Same,
    /// It was not who the tag says: `-0`, the default.
    Default,
    /// The trace is not sampled although the tag's decider kept it.
    Gone,
}

impl<'a> Tags<'a> {
    /// Those of `x-datadog-tags`.
    pub(super) fn header(tags: &'a [u8]) -> Self {
        Self { parts: Parts::new(tags, b','), prefix: PREFIX, is: b'=' }
    }

    /// Those of `dd`.
    pub(super) fn member(value: &'a [u8]) -> Self {
        Self { parts: Parts::new(value, b';'), prefix: b"t.", is: b':' }
    }

    /// The first half of the trace id.
    pub(super) fn high(mut self) -> Option<u64> {
        let (_, digits) = self.find(|(key, _)| *key == b"tid")?;
        if digits.len() == 16 { text::hex(digits) } else { None }
    }

    /// Writes `x-datadog-tags`, with the first half of the trace id unless it is zero. What finds no room is left out.
    pub(super) fn write(self, high: u64, decider: Decider, out: &mut Writer<'_>) {
        let room = if high == 0 { TAGS_MAX } else { TAGS_MAX.saturating_sub(TID) };
        let in_member = self.is == b':';
        for (key, value) in self {
            if key == b"tid"
                || (key == b"dm" && decider != Decider::Same)
                || !printable(key)
                || !printable(value)
            {
                continue;
            }
            let length = out.length();
            begin(key, out);
            if in_member {
                dd::decode(value, out);
            } else {
                out.bytes(value);
            }
            if out.length() > room {
                out.rewind(length);
            }
        }
        if decider == Decider::Default {
            let length = out.length();
            begin(b"dm", out);
            out.bytes(b"-0");
            if out.length() > room {
                out.rewind(length);
            }
        }
        if high != 0 {
            begin(b"tid", out);
            out.hex(high);
        }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let (key, Some(value)) = text::cut(self.parts.next()?, self.is)
                && let Some(key) = key.strip_prefix(self.prefix)
                && !key.is_empty()
            {
                return Some((key, value));
            }
        }
    }
}

fn begin(key: &[u8], out: &mut Writer<'_>) {
    if out.length() > 0 {
        out.byte(b',');
    }
    out.bytes(PREFIX);
    out.bytes(key);
    out.byte(b'=');
}

fn printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b',')
}
