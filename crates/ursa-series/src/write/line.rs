//! Pieces of a line.

use std::fmt::Write as _;

use crate::escape::is_legacy;
use crate::{Escaping, Labels};

/// Adds a number as every reader takes it.
pub(super) fn number(out: &mut String, number: f64) {
    /// Up to here whole numbers are written without a fraction being looked for.
    const WHOLE: f64 = 1e15;
    if number.is_nan() {
        out.push_str("NaN");
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else if number.abs() < WHOLE && number.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "it is a small whole number")]
        integer(out, number as i64);
    } else if number.abs() < 1e-5 || number.abs() >= 1e21 {
        write!(out, "{number:e}").expect("a string takes everything");
    } else {
        write!(out, "{number}").expect("a string takes everything");
    }
}

/// Adds a bound of a bucket or a quantile: in OpenMetrics it always has a fraction.
pub(super) fn bound(out: &mut String, bound: f64, open_metrics: bool) {
    let start = out.len();
    number(out, bound);
    let is_whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if open_metrics && out.get(start..).is_some_and(is_whole) {
        out.push_str(".0");
    }
}

/// Adds a whole number.
pub(super) fn integer(out: &mut String, number: i64) {
    let mut digits = [0_u8; 20];
    let mut rest = number.unsigned_abs();
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or_default());
        rest /= 10;
        at = at.saturating_sub(1);
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push('-');
    }
    out.push_str(digits.get(at..).and_then(|digits| str::from_utf8(digits).ok()).unwrap_or("0"));
}

/// Adds `name="value",…` without braces.
pub(super) fn labels(out: &mut String, labels: &Labels, escaping: Escaping) {
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        if is_legacy(name) && !name.contains(':') && escaping != Escaping::Dots {
            out.push_str(name);
        } else if escaping == Escaping::AllowUtf8 {
            quoted(out, name);
        } else {
            escaping.escape(name, out);
        }
        out.push('=');
        quoted(out, value);
    }
}

/// Adds a text in quotes.
pub(super) fn quoted(out: &mut String, text: &str) {
    out.push('"');
    escaped(out, text, true);
    out.push('"');
}

/// Adds a text with what would end it escaped.
pub(super) fn escaped(out: &mut String, text: &str, quote: bool) {
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'\\', b'\n', b'"', rest.as_bytes()) {
        let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        match special.as_bytes().first() {
            Some(b'\n') => out.push_str("\\n"),
            Some(b'"') if !quote => out.push('"'),
            Some(b'"') => out.push_str("\\\""),
            _ => out.push_str("\\\\"),
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
}
