//! W3C Trace Context, `tracestate`: `key=value` members of tracing systems, the latest first.
//!
//! Source: W3C Trace Context, "Tracestate Header Field Values", "tracestate Limits" and "Mutating the tracestate Field".

use crate::datadog::{Datadog, Dd};
use crate::headers::Lines;
use crate::ot;
use crate::text;
use crate::writer::Writer;

/// Members that a `tracestate` may have.
pub const MEMBERS_MAX: usize = 32;

/// Bytes that a key, and a value, may have.
pub const MEMBER_MAX: usize = 256;

/// A member that is longer goes first when there is no room for all.
const LONG: usize = 128;

/// A valid member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Whose it is.
    pub key: &'a [u8],
    /// What it says.
    pub value: &'a [u8],
}

impl<'a> Member<'a> {
    /// Reads `key=value`; the spaces around it are gone already.
    pub fn parse(member: &'a [u8]) -> Option<Self> {
        let (key, Some(value)) = text::cut(member, b'=') else { return None };
        let key_byte = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
        let valid = key.first().is_some_and(u8::is_ascii_alphanumeric)
            && key.iter().all(key_byte)
            && value.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='))
            && !value.is_empty()
            && key.len() <= MEMBER_MAX
            && value.len() <= MEMBER_MAX;
        valid.then_some(Self { key, value })
    }
}

/// The valid members of all lines, in their order.
pub fn members<'a>(lines: &Lines<'a>) -> impl Iterator<Item = Member<'a>> {
    lines.list().filter_map(Member::parse)
}

/// The value of a key.
pub fn find<'a>(lines: &Lines<'a>, key: &[u8]) -> Option<&'a [u8]> {
    members(lines).find(|member| member.key == key).map(|member| member.value)
}

/// Members that are written anew.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Own<'a> {
    /// What Datadog's headers say, as `dd`.
    pub(crate) datadog: Option<&'a Datadog<'a>>,
    /// What becomes of the threshold of `ot`.
    pub(crate) threshold: Threshold,
}

/// What becomes of a threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Threshold {
    #[default]
    Keep,
    Remove,
    Set(u64),
}

impl Own<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.datadog.is_none() && self.threshold == Threshold::Keep
    }
}

/// Writes one line: first what is written anew, then the members of others in their order, each as it was. What is
/// no valid member is left out. Too many, or too much: members of more than 128 bytes go first, then the last.
pub(crate) fn write(lines: &Lines<'_>, own: &Own<'_>, out: &mut Writer<'_>) {
    let mut count = 0_usize;
    if let Some(datadog) = own.datadog {
        let before = find(lines, b"dd").and_then(|value| Dd::parse(value).parent);
        count = count.saturating_add(named(b"dd=", out, |out| datadog.write_dd(before, out)));
    }
    if own.threshold != Threshold::Keep {
        let before = find(lines, b"ot").unwrap_or_default();
        let threshold = match own.threshold {
            Threshold::Set(threshold) => Some(threshold),
            Threshold::Keep | Threshold::Remove => None,
        };
        count = count.saturating_add(named(b"ot=", out, |out| ot::write(before, threshold, out)));
    }
    let start = out.length();
    let room = MEMBERS_MAX.saturating_sub(count);
    if !others(lines, own, room, usize::MAX, out) {
        out.rewind(start);
        others(lines, own, room, LONG, out);
    }
}

/// Writes members of others that are not longer than that, as long as there is room; whether all found some.
fn others(
    lines: &Lines<'_>,
    own: &Own<'_>,
    room: usize,
    longest: usize,
    out: &mut Writer<'_>,
) -> bool {
    let mut left = room;
    for part in lines.list() {
        let Some(member) = Member::parse(part) else { continue };
        let replaced = match member.key {
            b"dd" => own.datadog.is_some(),
            b"ot" => own.threshold != Threshold::Keep,
            _ => false,
        };
        if replaced || part.len() > longest {
            continue;
        }
        if left == 0 {
            break;
        }
        left = left.saturating_sub(1);
        let length = out.length();
        comma(out);
        out.bytes(part);
        if !out.fits() {
            out.rewind(length);
            return false;
        }
    }
    true
}

/// Writes a member of our own, unless its value is empty; how many that are.
fn named(name: &[u8], out: &mut Writer<'_>, value: impl FnOnce(&mut Writer<'_>)) -> usize {
    let length = out.length();
    comma(out);
    out.bytes(name);
    let start = out.length();
    value(out);
    if out.length() == start {
        out.rewind(length);
        return 0;
    }
    1
}

fn comma(out: &mut Writer<'_>) {
    if out.length() > 0 {
        out.byte(b',');
    }
}
