//! The member `ot` of `tracestate`: how probable it was that a trace is sampled.
//!
//! Source: OpenTelemetry, "TraceState Handling" and "TraceState: Probability Sampling".

use crate::headers::Lines;
use crate::text::{self, Parts};
use crate::tracestate::{self, MEMBER_MAX};
use crate::writer::Writer;

/// What `ot` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ot {
    /// `th`, 56 bits: of 2⁵⁶ traces so many are not sampled.
    pub threshold: Option<u64>,
    /// `rv`, 56 bits: what is compared with thresholds instead of the trace id's last 56 bits.
    pub randomness: Option<u64>,
}

impl Ot {
    /// Reads the value of `ot`. `th` has 1 to 14 digits, and zeros are added on the right; `rv` has exactly 14.
    pub fn parse(value: &[u8]) -> Self {
        let mut ot = Self::default();
        for part in Parts::new(value, b';') {
            match text::cut(part, b':') {
                (b"th", Some(digits)) if digits.len() <= 14 => {
                    let zeros = 14_usize.saturating_sub(digits.len());
                    ot.threshold = text::hex(digits)
                        .map(|value| (0..zeros).fold(value, |value, _| value << 4));
                }
                (b"rv", Some(digits)) if digits.len() == 14 => ot.randomness = text::hex(digits),
                _ => {}
            }
        }
        ot
    }

    /// What the lines of `tracestate` say.
    pub fn of(lines: &Lines<'_>) -> Self {
        tracestate::find(lines, b"ot").map_or_else(Self::default, Self::parse)
    }
}

/// Writes the value of `ot`: the threshold, and all else that `before` has, up to the limit of a member.
pub fn write(before: &[u8], threshold: Option<u64>, out: &mut Writer<'_>) {
    let start = out.length();
    if let Some(threshold) = threshold {
        out.bytes(b"th:");
        let (mut rest, mut digits) = (threshold, 14_usize);
        while digits > 1 && rest.trailing_zeros() >= 4 {
            rest >>= 4;
            digits = digits.saturating_sub(1);
        }
        out.end_of_hex(rest, digits);
    }
    for part in Parts::new(before, b';') {
        if text::cut(part, b':').0 == b"th" {
            continue;
        }
        let length = out.length();
        if length > start {
            out.byte(b';');
        }
        out.bytes(part);
        if out.length().saturating_sub(start) > MEMBER_MAX {
            out.rewind(length);
        }
    }
}
